// postgres.js: its pool, prepared and not, transactions, cursors, streams, listeners and cancelling.

import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import postgres from 'postgres'

import { check, failure, hasOneServer, isDirect, items, numbers, pause, runAll } from './checks.mjs'

const CONTEXT = process.env.PGOPTIONS ?? ''
const prepare = process.argv[2] !== 'unprepared' // postgres.js prepares behind its users' backs

async function withSql(body, { connection = {}, ...options } = {}) {
  const sql = postgres({
    max: 1,
    prepare,
    onnotice: () => {},
    ...options,
    connection: { ...connection, options: `${CONTEXT} ${connection.options ?? ''}` },
  })
  try {
    return await body(sql)
  } finally {
    await sql.end({ timeout: 2 })
  }
}

// Calls `body` with a client and a function that makes its next transaction run on another server.
async function moving(body, options) {
  await withSql(async (other) => {
    let holds = false
    const move = async () => {
      if (hasOneServer) return
      await other.unsafe(holds ? 'ROLLBACK' : 'BEGIN; SELECT 1')
      holds = !holds
    }
    await withSql((sql) => body(sql, move), options)
  })
}

async function seen(sql) {
  const rows = await sql`SELECT item FROM orders WHERE amount > ${0}`
  return rows.map((row) => row.item).sort()
}

const value = async (query) => Object.values((await query)[0])[0]

check('a tenant sees its rows on every server', () =>
  moving(async (sql, move) => {
    for (const number of numbers(5)) {
      assert.deepEqual(await seen(sql), items)
      assert.equal((await sql.unsafe('SELECT item FROM orders')).count, items.length)
      assert.equal(await value(sql`SELECT ${number}::int + 1`), number + 1)
      await move()
    }
  }))

check('more statements than a server keeps', () =>
  moving(async (sql, move) => {
    for (const round of numbers(3)) {
      for (const number of numbers(60)) {
        assert.equal(await value(sql.unsafe(`SELECT $1::int + ${number}`, [round], { prepare })), round + number)
      }
      await move()
    }
  }))

check('queries are pipelined and errors stay apart', () =>
  moving(async (sql, move) => {
    for (const _ of numbers(2)) {
      const asked = numbers(80).map((number) =>
        sql`SELECT 10 / ${number % 7}::int AS n, count(*)::int AS orders FROM orders`.catch((error) => error),
      )
      const answers = await Promise.all(asked)
      answers.forEach((answer, number) => {
        if (number % 7) assert.deepEqual({ ...answer[0] }, { n: Math.floor(10 / (number % 7)), orders: items.length })
        else assert.equal(answer.code, '22012')
      })
      await move()
    }
  }))

check('transactions, savepoints and errors inside', () =>
  moving(async (sql, move) => {
    await sql`DELETE FROM notes`
    await sql.begin(async (sql) => {
      await sql`INSERT INTO notes (id) VALUES (${1})`
      await failure(
        sql.savepoint(async (sql) => {
          await sql`INSERT INTO notes (id) VALUES (${2})`
          await sql`SELECT 1 / ${0}::int`
        }),
        '22012',
      )
      await sql.savepoint((sql) => sql`INSERT INTO notes (id) VALUES (${3})`)
    })
    await move()
    const ids = async () => (await sql`SELECT id FROM notes ORDER BY id`).map((row) => row.id)
    assert.deepEqual(await ids(), [1, 3])
    await failure(sql.begin((sql) => [sql`DELETE FROM notes`, sql`SELECT nope`]), '42703')
    await move()
    assert.deepEqual(await ids(), [1, 3])
    const [, counted] = await sql.begin((sql) => [sql`DELETE FROM notes`, sql`SELECT count(*)::int AS n FROM notes`])
    assert.equal(counted[0].n, 0)
  }))

check('a pool of twenty shares few servers', () =>
  withSql(
    async (sql) => {
      await Promise.all(
        numbers(60).map((number) =>
          sql.begin(async (sql) => {
            assert.deepEqual(await seen(sql), items)
            await sql`INSERT INTO notes (id, body) VALUES (${number}, ${'x'})`
            assert.equal(await value(sql`SELECT count(*)::int FROM notes WHERE id = ${number}`), 1)
            await sql`DELETE FROM notes WHERE id = ${number}`
          }),
        ),
      )
      assert.equal(await value(sql`SELECT count(*)::int FROM notes`), 0)
    },
    { max: 20 },
  ))

check('cursors read a part at a time, and may be closed early', () =>
  moving(async (sql, move) => {
    const query = () => sql`SELECT n::int, (SELECT count(*)::int FROM orders) AS orders FROM generate_series(1, ${250}::int) n`
    const got = []
    for await (const rows of query().cursor(100)) got.push(...rows)
    assert.deepEqual(
      got.map((row) => row.n),
      numbers(250).map((number) => number + 1),
    )
    assert.ok(got.every((row) => row.orders === items.length))
    await move()
    for await (const [row] of query().cursor()) if (row.n === 3) break
    assert.deepEqual(await seen(sql), items)
    await move()
    let last = 0
    await query().cursor(10, (rows) => {
      last = rows.at(-1).n
      return last < 50 ? undefined : sql.CLOSE
    })
    assert.equal(last, 50)
    await failure(
      sql`SELECT 10 / (${4}::int - n) FROM generate_series(1, 10) n`.cursor(3, () => {}),
      '22012',
    )
    assert.deepEqual(await seen(sql), items)
  }))

check('a running statement is cancelled', () =>
  withSql((sql) =>
    withSql(async (other) => {
      // It asks once: while it connects it forgets the query then, and between Describe and Execute PostgreSQL ignores it.
      // So the query has to run first, and takes a lock to show that it does.
      if (hasOneServer) return
      for (const number of numbers(2)) {
        const query = sql`SELECT pg_advisory_xact_lock(7, ${number}), pg_sleep(${20})`
        const ended = failure(query, '57014')
        while (await value(other`SELECT pg_try_advisory_xact_lock(7, ${number})`)) await pause(10)
        query.cancel()
        await ended
        assert.deepEqual(await seen(sql), items)
      }
    }),
  ))

check('a string of several statements gives a result for each', () =>
  withSql(async (sql) => {
    const results = await sql`SELECT 1 AS a; SELECT count(*)::int AS b FROM orders; SELECT 3 AS c`.simple()
    assert.deepEqual(
      results.map((rows) => ({ ...rows[0] })),
      [{ a: 1 }, { b: items.length }, { c: 3 }],
    )
  }))

check('types come back as they were sent, arrays by introspection', () =>
  moving(
    async (sql, move) => {
      for (const _ of numbers(2)) {
        const when = new Date('2024-02-29T12:34:56.789Z')
        const bytes = Buffer.from([0, 1, 92, 39, 255])
        const [row] = await sql`
          SELECT ${9223372036854775807n}::int8 AS big, ${'1234567890123456789.12345'}::numeric AS exact,
                 ${bytes}::bytea AS bytes, ${sql.json({ a: [1, { b: 'ü' }] })}::jsonb AS document,
                 ${[1, 2, 3]}::int[] AS list, ${when}::timestamptz AS at,
                 ${'0f8fad5b-d9cb-469f-a165-70867728950e'}::uuid AS id, ${['a "b"', "c\\d'", '']}::text[] AS words,
                 ${'happy'}::mood AS mood, ARRAY['sad', 'ok']::mood[] AS moods, ${null}::text AS nothing`
        assert.deepEqual(
          { ...row },
          {
            big: 9223372036854775807n,
            exact: '1234567890123456789.12345',
            bytes,
            document: { a: [1, { b: 'ü' }] },
            list: [1, 2, 3],
            at: when,
            id: '0f8fad5b-d9cb-469f-a165-70867728950e',
            words: ['a "b"', "c\\d'", ''],
            mood: 'happy',
            moods: ['sad', 'ok'],
            nothing: null,
          },
        )
        await move()
      }
    },
    { types: { bigint: postgres.BigInt } },
  ))

check('statements are described without being run', () =>
  withSql(async (sql) => {
    const described = await sql`SELECT item, amount FROM orders WHERE amount > ${0} AND item = ${'x'}`.describe()
    assert.deepEqual(described.types, [1700, 25])
    assert.deepEqual(
      described.columns.map(({ name, type }) => [name, type]),
      [
        ['item', 25],
        ['amount', 1700],
      ],
    )
    await failure(sql`SELECT nope`.describe(), '42703')
    assert.deepEqual(await seen(sql), items)
  }))

check('rows are inserted many at a time', () =>
  withSql(async (sql) => {
    const rows = numbers(500).map((id) => ({ id, body: `body ${id}` }))
    assert.equal((await sql`INSERT INTO notes ${sql(rows)}`).count, 500)
    const [{ n, longest }] = await sql`SELECT count(*)::int AS n, max(body) AS longest FROM ${sql('notes')}`
    assert.deepEqual([n, longest], [500, 'body 99'])
    assert.equal((await sql`DELETE FROM notes`).count, 500)
  }))

check('isolation levels', () =>
  withSql(async (sql) => {
    for (const level of ['read committed', 'repeatable read', 'serializable']) {
      await sql.begin(`isolation level ${level}`, async (sql) => {
        assert.equal(await value(sql`SHOW transaction_isolation`), level)
        assert.deepEqual(await seen(sql), items)
      })
    }
    await failure(
      sql.begin('read only', (sql) => sql`INSERT INTO notes (id) VALUES (1)`),
      '25006',
    )
  }))

check('a reserved connection keeps what was set', () =>
  withSql(
    async (sql) => {
      const reserved = await sql.reserve()
      await reserved`SET work_mem TO '7MB'`
      await Promise.all(numbers(10).map(() => seen(sql)))
      assert.equal(await value(reserved`SHOW work_mem`), '7MB')
      assert.deepEqual(await seen(reserved), items)
      reserved.release()
    },
    { max: 3 },
  ))

check('COPY in and out', () =>
  moving(async (sql, move) => {
    await sql`DELETE FROM loads`
    const lines = numbers(5000).map((number) => `${number}\tline ${number}\n`)
    await pipeline(Readable.from(lines), await sql`COPY loads (id, body) FROM STDIN`.writable())
    await move()
    // Not more than fits into a stream's buffer: beyond that postgres.js may leave its socket paused for good.
    const out = await sql`COPY (SELECT id, body FROM loads WHERE id < 500 ORDER BY id) TO STDOUT`.readable()
    const chunks = []
    for await (const chunk of out) chunks.push(chunk)
    assert.equal(Buffer.concat(chunks).toString(), lines.slice(0, 500).join(''))
    const torn = Readable.from(
      (async function* () {
        yield '1\tone\n'
        throw new Error('torn')
      })(),
    )
    await assert.rejects(pipeline(torn, await sql`COPY loads (id, body) FROM STDIN`.writable()), /torn/)
    assert.equal(await value(sql`SELECT count(*)::int FROM loads`), 5000)
    await sql`DELETE FROM loads`
  }))

check('settings given at connecting last', () =>
  moving(
    async (sql, move) => {
      for (const _ of numbers(3)) {
        assert.equal(await value(sql`SHOW TimeZone`), 'Asia/Tokyo')
        assert.equal(await value(sql`SHOW application_name`), 'shop')
        assert.equal(await value(sql`SHOW work_mem`), '5MB')
        await move()
      }
      assert.equal(await withSql((other) => value(other`SHOW work_mem`)), '4MB')
      assert.equal(sql.parameters.application_name, 'shop')
      assert.equal(sql.parameters.TimeZone, 'Asia/Tokyo')
    },
    { connection: { TimeZone: 'Asia/Tokyo', application_name: 'shop', options: '-c work_mem=5MB' } },
  ))

check('a listener hears notifications', () =>
  withSql(async (sql) => {
    if (hasOneServer) return // it listens on a connection of its own, and would have to notify on another
    const channel = `postgres_js_${process.env.TENANT}`
    let hear
    const heard = new Promise((resolve) => (hear = resolve))
    const { unlisten } = await sql.listen(channel, hear)
    await sql.notify(channel, 'gong')
    assert.equal(await heard, 'gong')
    await unlisten()
    assert.deepEqual(await seen(sql), items)
  }))

check('notices arrive', async () => {
  const heard = []
  await withSql((sql) => sql`DO $$ BEGIN RAISE WARNING 'careful' USING HINT = 'look'; END $$`, {
    onnotice: (notice) => heard.push([notice.severity, notice.message, notice.hint]),
  })
  assert.deepEqual(heard, [['WARNING', 'careful', 'look']])
})

check('timeouts given at connecting', () =>
  withSql(
    async (sql) => {
      const error = await failure(sql`SELECT pg_sleep(${20})`, '57014')
      assert.match(error.message, /statement timeout/)
      assert.equal(await value(sql`SHOW lock_timeout`), '3s')
      assert.deepEqual(await seen(sql), items)
    },
    { connection: { statement_timeout: 1000, lock_timeout: '3s' } },
  ))

check('a lost connection is replaced', () =>
  withSql(async (sql) => {
    assert.deepEqual(await seen(sql), items)
    const lost = sql.begin(async (sql) => {
      await sql`SET LOCAL idle_in_transaction_session_timeout TO '50ms'`
      await new Promise(() => {}) // it rejects when PostgreSQL ends the connection
    })
    await assert.rejects(lost)
    assert.deepEqual(await seen(sql), items)
  }))

check('connections may be short-lived', () =>
  withSql(
    async (sql) => {
      for (const _ of numbers(4)) {
        assert.deepEqual(await seen(sql), items)
        await pause(60)
      }
    },
    { max_lifetime: 0.05, idle_timeout: 0.05 },
  ))

check('errors say what PostgreSQL says', () =>
  withSql(async (sql) => {
    const error = await failure(sql`SELECT items FROM orders WHERE amount > ${1}`, '42703')
    assert.equal(error.position, '8')
    assert.equal(error.severity, 'ERROR')
    assert.match(error.hint, /orders\.item/)
    assert.equal(error.file, 'parse_relation.c')
    assert.deepEqual(error.parameters, [1])
    const missing = await failure(sql`INSERT INTO orders (item) VALUES ('x')`, '23502')
    assert.deepEqual([missing.table_name, missing.column_name], ['orders', 'amount'])
  }))

check('the tenant can not be changed', () =>
  withSql(async (sql) => {
    if (isDirect) return
    const error = await failure(sql`SET app.tenant_id TO 'other'`, '42501')
    assert.ok(error.hint)
    await failure(sql`SELECT set_config('app.tenant_id', ${'other'}, false)`, '42501')
    assert.deepEqual(await seen(sql), items)
  }))

await runAll()
