/** Ports that a test must know before the server that is to listen there has started. */
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Below those that Linux gives away by itself, from 32768 on: such a one may belong to anybody's connection by the time
 * that the server starts. Above the last that fetch and browsers refuse, 10080.
 */
const [first, end] = [11_000, 32_768]
/** Workers of a run have each a stretch of their own. */
const stretches = 16
const size = Math.floor((end - first) / stretches)
const stretch = first + (Number(process.env.VITEST_POOL_ID ?? 0) % stretches) * size
/** Another run on this machine has the same stretches, and begins elsewhere in them. */
let next = randomInt(size)

/** A port of 127.0.0.1 on which nobody listens; it is not given a second time before the stretch is used up. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < size; tries++) {
    const port = stretch + next
    next = (next + 1) % size
    if (await isFree(port)) return port
  }
  throw new Error(`no port is free from ${stretch} to ${stretch + size - 1}`)
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch {
    return false
  }
  await once(server.close(), 'close')
  return true
}
