// node-postgres: clients, its pool, pipeline mode, cursors, streams and COPY.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import QueryStream from 'pg-query-stream'

import { check, failure, hasOneServer, isDirect, items, mayListen, numbers, runAll } from './checks.mjs'

const CONTEXT = process.env.PGOPTIONS ?? ''

async function withClient(body, options = {}) {
  const client = new pg.Client({ ...options, options: `${CONTEXT} ${options.options ?? ''}` })
  await client.connect()
  try {
    return await body(client)
  } finally {
    await client.end()
  }
}

async function withPool(max, body, options = {}) {
  const pool = new pg.Pool({ max, options: CONTEXT, ...options })
  pool.on('error', () => {}) // an idle client's end is not the check's
  try {
    return await body(pool)
  } finally {
    await pool.end()
  }
}

// Calls `body` with a client and a function that makes its next transaction run on another server.
async function moving(body, options) {
  await withClient(async (other) => {
    let holds = false
    const move = async () => {
      if (hasOneServer) return
      await other.query(holds ? 'ROLLBACK' : 'BEGIN; SELECT 1')
      holds = !holds
    }
    await withClient((client) => body(client, move), options)
  })
}

async function seen(client) {
  const { rows } = await client.query('SELECT item FROM orders WHERE amount > $1 ORDER BY item', [0])
  return rows.map((row) => row.item).sort()
}

const value = async (client, ...query) => Object.values((await client.query(...query)).rows[0])[0]

check('a tenant sees its rows on every server', () =>
  moving(async (client, move) => {
    for (const number of numbers(5)) {
      assert.deepEqual(await seen(client), items)
      assert.equal((await client.query('SELECT item FROM orders')).rowCount, items.length)
      assert.equal(await value(client, 'SELECT $1::int + 1 AS n', [number]), number + 1)
      await move()
    }
  }))

check('a string of several statements gives a result for each', () =>
  withClient(async (client) => {
    const results = await client.query('SELECT 1 AS a; SELECT count(*)::int AS b FROM orders; SELECT 3 AS c')
    assert.deepEqual(
      results.map((result) => result.rows[0]),
      [{ a: 1 }, { b: items.length }, { c: 3 }],
    )
    assert.equal((await client.query('')).rows.length, 0)
  }))

check('types come back as they were sent', () =>
  withClient(async (client) => {
    const when = new Date('2024-02-29T12:34:56.789Z')
    const bytes = Buffer.from([0, 1, 92, 39, 255])
    const { rows } = await client.query(
      `SELECT $1::int8 AS big, $2::numeric AS exact, $3::bytea AS bytes, $4::jsonb AS document, $5::int[] AS list,
              $6::timestamptz AS at, $7::uuid AS id, $8::text[] AS words, $9::mood AS mood, $10::text AS nothing`,
      [
        '9223372036854775807',
        '123456789012345678901234567890.123456789',
        bytes,
        { a: [1, { b: 'ü' }] },
        [1, null, 3],
        when,
        '0f8fad5b-d9cb-469f-a165-70867728950e',
        ['a "b"', "c\\d'", ''],
        'happy',
        null,
      ],
    )
    assert.deepEqual(rows[0], {
      big: '9223372036854775807',
      exact: '123456789012345678901234567890.123456789',
      bytes,
      document: { a: [1, { b: 'ü' }] },
      list: [1, null, 3],
      at: when,
      id: '0f8fad5b-d9cb-469f-a165-70867728950e',
      words: ['a "b"', "c\\d'", ''],
      mood: 'happy',
      nothing: null,
    })
  }))

check('results may be binary', () =>
  moving(
    async (client, move) => {
      for (const name of ['', 'binary', 'binary']) {
        const { rows, fields } = await client.query({
          name: name || undefined,
          text: "SELECT $1::int4 AS a, 2.5::float8 AS b, true AS c, ARRAY[1, 2] AS d, 't'::text AS e",
          values: [7],
          binary: true,
        })
        assert.deepEqual(rows, [{ a: 7, b: 2.5, c: true, d: [1, 2], e: 't' }])
        assert.ok(fields.every((field) => field.format === 'binary'))
        await move()
      }
    },
    { binary: true },
  ))

check('rows may be arrays and fields are described', () =>
  withClient(async (client) => {
    const { rows, fields } = await client.query({ text: 'SELECT id, item FROM orders LIMIT 1', rowMode: 'array' })
    assert.equal(rows[0].length, 2)
    assert.deepEqual(
      fields.map(({ name, dataTypeID }) => [name, dataTypeID]),
      [
        ['id', 20],
        ['item', 25],
      ],
    )
    assert.ok(fields.every((field) => field.tableID > 0 && field.columnID > 0))
  }))

check('named statements are reused in and out of transactions', () =>
  moving(async (client, move) => {
    const count = { name: 'count', text: 'SELECT count(*)::int AS n FROM orders WHERE amount > $1' }
    for (const number of numbers(4)) {
      assert.equal(await value(client, { ...count, values: [0] }), items.length)
      await client.query('BEGIN')
      assert.equal(await value(client, { ...count, values: [1e9] }), 0)
      await client.query(number % 2 ? 'COMMIT' : 'ROLLBACK')
      await move()
    }
  }))

check('more named statements than a server keeps', () =>
  moving(async (client, move) => {
    for (const round of numbers(3)) {
      for (const number of numbers(60)) {
        const query = { name: `plus_${number}`, text: `SELECT $1::int + ${number} AS n`, values: [round] }
        assert.equal(await value(client, query), round + number)
      }
      await move()
    }
  }))

check('DISCARD takes statements away only where PostgreSQL does', () =>
  withClient(async (client) => {
    const query = { name: 'kept', text: 'SELECT $1::text || count(*) AS n FROM orders', values: ['x'] }
    const expected = `x${items.length}`
    for (const what of ['PLANS', 'SEQUENCES', 'TEMP']) {
      assert.equal(await value(client, query), expected)
      await client.query(`DISCARD ${what}`)
    }
    assert.equal(await value(client, query), expected)
    await client.query('DISCARD ALL')
    await failure(client.query(query), '26000')
    assert.deepEqual(await seen(client), items)
  }))

check('transactions, savepoints and errors inside', () =>
  moving(async (client, move) => {
    await client.query('DELETE FROM notes')
    await client.query('BEGIN')
    await client.query('INSERT INTO notes (id) VALUES ($1)', [1])
    await client.query('SAVEPOINT s')
    await client.query('INSERT INTO notes (id) VALUES (2)')
    await failure(client.query('SELECT 1 / $1::int', [0]), '22012')
    await failure(client.query('SELECT 1'), '25P02')
    await client.query('ROLLBACK TO s')
    await client.query('INSERT INTO notes (id) VALUES (3)')
    await client.query('RELEASE s')
    assert.equal((await client.query('COMMIT')).command, 'COMMIT')
    await move()
    const ids = async () => (await client.query('SELECT id FROM notes ORDER BY id')).rows.map((row) => row.id)
    assert.deepEqual(await ids(), [1, 3])
    await client.query('BEGIN')
    await client.query('DELETE FROM notes')
    await failure(client.query('SELECT nope'), '42703')
    assert.equal((await client.query('COMMIT')).command, 'ROLLBACK')
    await move()
    assert.deepEqual(await ids(), [1, 3])
    await client.query('DELETE FROM notes')
  }))

check('isolation levels', () =>
  withClient(async (client) => {
    for (const level of ['read uncommitted', 'read committed', 'repeatable read', 'serializable']) {
      await client.query(`BEGIN ISOLATION LEVEL ${level}`)
      assert.equal(await value(client, 'SHOW transaction_isolation'), level)
      assert.deepEqual(await seen(client), items)
      await client.query('COMMIT')
    }
    await client.query('BEGIN READ ONLY')
    await failure(client.query('INSERT INTO notes (id) VALUES (1)'), '25006')
    await client.query('ROLLBACK')
  }))

check('twenty clients of a pool share few servers', () =>
  withPool(20, async (pool) => {
    await Promise.all(
      numbers(20).map(async (number) => {
        const client = await pool.connect()
        await client.query(`SET work_mem TO '${number + 1}MB'`)
        for (const round of numbers(4)) {
          assert.equal(await value(client, 'SHOW work_mem'), `${number + 1}MB`)
          assert.deepEqual(await seen(client), items)
          await client.query('BEGIN')
          await client.query({ name: 'add', text: 'INSERT INTO notes (id, body) VALUES ($1, $2)', values: [number, round] })
          assert.equal(await value(client, 'SELECT count(*)::int FROM notes WHERE id = $1', [number]), 1)
          await client.query('ROLLBACK')
        }
        client.release()
      }),
    )
    assert.equal(await value(pool, 'SELECT count(*)::int AS n FROM notes'), 0)
  }))

check('queries queue up on one client', () =>
  withClient(async (client) => {
    const asked = numbers(40).map((number) => client.query('SELECT 10 / $1::int AS n', [number % 7]).catch((error) => error))
    const answers = await Promise.all(asked)
    answers.forEach((answer, number) => {
      if (number % 7) assert.equal(answer.rows[0].n, Math.floor(10 / (number % 7)))
      else assert.equal(answer.code, '22012')
    })
  }))

check('pipeline mode answers in order and keeps errors apart', () =>
  moving(
    async (client, move) => {
      for (const round of numbers(2)) {
        const asked = numbers(60).map((number) => {
          const text = 'SELECT 10 / $1::int AS n, count(*)::int AS orders FROM orders'
          const name = number % 3 ? `divide_${round}_${number % 3}` : undefined
          return client.query({ name, text, values: [number % 7] }).catch((error) => error)
        })
        const answers = await Promise.all(asked)
        answers.forEach((answer, number) => {
          if (number % 7) assert.deepEqual(answer.rows, [{ n: Math.floor(10 / (number % 7)), orders: items.length }])
          else assert.equal(answer.code, '22012')
        })
        await move()
      }
      const transaction = ['BEGIN', 'INSERT INTO notes (id) VALUES (1)', 'SELECT count(*)::int AS n FROM notes', 'ROLLBACK']
      const results = await Promise.all(transaction.map((text) => client.query(text)))
      assert.deepEqual(results[2].rows, [{ n: 1 }])
      assert.equal(await value(client, 'SELECT count(*)::int AS n FROM notes'), 0)
    },
    { pipeline: true },
  ))

check('cursors read a part at a time, and may be closed early', () =>
  moving(async (client, move) => {
    const text = 'SELECT n::int, (SELECT count(*)::int FROM orders) AS orders FROM generate_series(1, $1::int) n'
    for (const inTransaction of [false, true]) {
      if (inTransaction) await client.query('BEGIN')
      const cursor = client.query(new Cursor(text, [250]))
      const got = []
      for (let rows = await cursor.read(100); rows.length; rows = await cursor.read(100)) got.push(...rows)
      assert.deepEqual(
        got.map((row) => row.n),
        numbers(250).map((number) => number + 1),
      )
      assert.ok(got.every((row) => row.orders === items.length))
      const early = client.query(new Cursor(text, [250]))
      assert.equal((await early.read(10)).length, 10)
      await early.close()
      if (inTransaction) await client.query('COMMIT')
      await move()
    }
    const failing = client.query(new Cursor('SELECT 10 / (5 - n) FROM generate_series(1, 10) n'))
    assert.equal((await failing.read(3)).length, 3)
    await failure(failing.read(3), '22012')
    assert.deepEqual(await seen(client), items)
  }))

check('query streams, to the end and not', () =>
  withClient(async (client) => {
    const query = () => new QueryStream("SELECT n::int, repeat('x', 100) FROM generate_series(1, 3000) n", [], { batchSize: 70 })
    let sum = 0
    for await (const row of client.query(query())) sum += row.n
    assert.equal(sum, (3000 * 3001) / 2)
    for await (const row of client.query(query())) if (row.n === 100) break
    assert.deepEqual(await seen(client), items)
  }))

check('COPY in and out', () =>
  moving(async (client, move) => {
    await client.query('DELETE FROM loads')
    const lines = numbers(5000).map((number) => `${number}\tline ${number}\n`)
    const load = client.query(copyFrom('COPY loads (id, body) FROM STDIN'))
    await pipeline(Readable.from(lines), load)
    assert.equal(load.rowCount, 5000)
    await move()
    const chunks = []
    for await (const chunk of client.query(copyTo('COPY (SELECT id, body FROM loads ORDER BY id) TO STDOUT'))) chunks.push(chunk)
    assert.equal(Buffer.concat(chunks).toString(), lines.join(''))
    await failure(pipeline(Readable.from(['x\ty\n']), client.query(copyFrom('COPY loads (id, body) FROM STDIN'))), '22P02')
    const torn = Readable.from(
      (async function* () {
        yield '1\tone\n'
        throw new Error('torn')
      })(),
    )
    await assert.rejects(pipeline(torn, client.query(copyFrom('COPY loads (id, body) FROM STDIN'))), /torn/)
    assert.equal(await value(client, 'SELECT count(*)::int AS n FROM loads'), 5000)
    await client.query('DELETE FROM loads')
  }))

check('settings last for the client alone', () =>
  moving(
    async (client, move) => {
      for (const _ of numbers(3)) {
        assert.equal(await value(client, 'SHOW TimeZone'), 'Asia/Tokyo')
        assert.equal(await value(client, 'SHOW application_name'), 'shop')
        assert.equal(await value(client, 'SHOW work_mem'), '5MB')
        await move()
      }
      await client.query("SET TimeZone TO 'UTC'")
      await client.query('BEGIN')
      await client.query("SET work_mem TO '6MB'; SET LOCAL TimeZone TO 'Asia/Tokyo'")
      assert.equal(await value(client, 'SHOW TimeZone'), 'Asia/Tokyo')
      await client.query('COMMIT')
      await move()
      assert.equal(await value(client, 'SHOW TimeZone'), 'UTC')
      assert.equal(await value(client, 'SHOW work_mem'), '6MB')
      await client.query('DISCARD ALL')
      assert.equal(await value(client, 'SHOW TimeZone'), 'Asia/Tokyo')
      assert.equal(await withClient((other) => value(other, 'SHOW work_mem')), '4MB')
    },
    { application_name: 'shop', options: '-c TimeZone=Asia/Tokyo -c work_mem=5MB' },
  ))

check('a listener hears notifications', () =>
  moving(async (client, move) => {
    const channel = `node_postgres_${process.env.TENANT}`
    if (!mayListen) return failure(client.query(`LISTEN ${channel}`), '0A000')
    await client.query(`LISTEN ${channel}`)
    const server = await value(client, 'SELECT pg_backend_pid()')
    await move()
    assert.equal(await value(client, 'SELECT pg_backend_pid()'), server)
    await move() // gives back what it held: two listeners and their senders have three servers
    const heard = once(client, 'notification')
    const notify = (sender) => sender.query('SELECT pg_notify($1, $2)', [channel, 'gong'])
    await (hasOneServer ? notify(client) : withClient(notify))
    const [message] = await heard
    assert.deepEqual([message.channel, message.payload], [channel, 'gong'])
    await client.query(`UNLISTEN ${channel}`)
  }))

check('temporary tables stay with their client', () =>
  moving(async (client, move) => {
    await client.query('CREATE TEMP TABLE mine AS SELECT 42 AS n')
    await move()
    assert.equal(await value(client, 'SELECT n FROM mine'), 42)
    await client.query('DROP TABLE mine')
    await failure(client.query('SELECT n FROM mine'), '42P01')
  }))

check('notices arrive', () =>
  withClient(async (client) => {
    const heard = []
    client.on('notice', (notice) => heard.push([notice.severity, notice.message, notice.hint]))
    await client.query("DO $$ BEGIN RAISE WARNING 'careful' USING HINT = 'look'; END $$")
    assert.deepEqual(heard, [['WARNING', 'careful', 'look']])
  }))

check('a running statement is cancelled', () =>
  withClient(async (client) => {
    for (const _ of numbers(2)) {
      const query = new pg.Query('SELECT pg_sleep(20)')
      const ended = new Promise((_, reject) => query.on('error', reject))
      client.query(query)
      // Again and again, for PostgreSQL ignores what comes before the statement runs.
      const asking = setInterval(() => new pg.Client({ options: CONTEXT }).cancel(client, query), 150)
      await failure(ended, '57014').finally(() => clearInterval(asking))
      assert.deepEqual(await seen(client), items)
    }
  }))

check('timeouts given at connecting', async () => {
  await withClient(
    async (client) => {
      const error = await failure(client.query('SELECT pg_sleep(20)'), '57014')
      assert.match(error.message, /statement timeout/)
      await failure(client.query('SELECT pg_sleep($1)', [20]), '57014')
      assert.equal(await value(client, 'SHOW lock_timeout'), '3s')
      assert.deepEqual(await seen(client), items)
    },
    { statement_timeout: 1000, lock_timeout: 3000, idle_in_transaction_session_timeout: 60000 },
  )
})

check('a pool replaces a connection that it lost', () =>
  withPool(1, async (pool) => {
    const client = await pool.connect()
    const query = { name: 'kept', text: 'SELECT count(*)::int AS n FROM orders WHERE amount > $1', values: [0] }
    assert.equal(await value(client, query), items.length)
    const lost = once(client, 'error')
    await client.query('BEGIN')
    await client.query("SET LOCAL idle_in_transaction_session_timeout TO '50ms'")
    const [error] = await lost
    assert.equal(error.code, '25P03')
    client.release(error)
    assert.equal(await value(pool, query), items.length)
  }))

check('errors say what PostgreSQL says', () =>
  withClient(async (client) => {
    for (const values of [undefined, [1]]) {
      const text = `SELECT items FROM orders ${values ? 'WHERE amount > $1' : ''}`
      const error = await failure(client.query(text, values), '42703')
      assert.equal(error.position, '8')
      assert.equal(error.severity, 'ERROR')
      assert.match(error.hint, /orders\.item/)
      assert.equal(error.file, 'parse_relation.c')
    }
    const error = await failure(client.query("INSERT INTO orders (item) VALUES ('x')"), '23502')
    assert.deepEqual([error.table, error.column], ['orders', 'amount'])
    const { detail, where } = await failure(client.query("SELECT '[1'::json"), '22P02')
    assert.equal(detail, 'The input string ended unexpectedly.')
    assert.equal(where, 'JSON data, line 1: [1')
  }))

check('the tenant can not be changed', () =>
  withClient(async (client) => {
    if (isDirect) return
    const error = await failure(client.query("SET app.tenant_id TO 'other'"), '42501')
    assert.ok(error.hint)
    await failure(client.query("SELECT set_config('app.tenant_id', $1, false)", ['other']), '42501')
    assert.deepEqual(await seen(client), items)
  }))

await runAll()
