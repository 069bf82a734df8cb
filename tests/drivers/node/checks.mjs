// Runs named checks one after the other and prints a line of JSON for each: {"check": …, "ok": …, "detail": …}.
// Where to connect is in PGHOST and its kin; the rest of the environment is what foreign.py describes.

import assert from 'node:assert/strict'

const TIMEOUT_MS = 40_000

export const items = JSON.parse(process.env.ITEMS).sort()
export const isDirect = process.env.WAY === 'directly'
export const hasOneServer = process.env.WAY === 'one server'

// Where tenants share a database, LISTEN is refused unless it is configured, as it is for few servers.
export const mayListen = !hasOneServer || process.env.TENANT === 'initech'

const checks = []

export function check(name, body) {
  checks.push({ name, body })
}

// A check that hangs is the last: what it holds would be in the way of the others.
export async function runAll() {
  for (const { name, body } of checks) {
    const hangs = setTimeout(() => {
      report(name, `not finished after ${TIMEOUT_MS} ms`)
      process.exit(1)
    }, TIMEOUT_MS)
    try {
      await body()
      report(name)
    } catch (error) {
      report(name, String(error?.stack ?? error).slice(0, 2000))
    } finally {
      clearTimeout(hangs)
    }
  }
  process.exit(0) // a connection that a failed check left open would keep the process
}

function report(name, problem = '') {
  console.log(JSON.stringify({ check: name, ok: !problem, detail: problem }))
}

// The error that a promise ends with; it must have this SQLSTATE.
export async function failure(promise, sqlstate) {
  let result
  try {
    result = await promise
  } catch (error) {
    assert.equal(error.code, sqlstate, `${error}`)
    return error
  }
  return assert.fail(`expected ${sqlstate}, but got ${JSON.stringify(result)}`)
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

export const numbers = (count) => Array.from({ length: count }, (_, number) => number)
