/**
 * Before each spec file: close to the end of a UTC month it waits for the next one. Many tests make calls by the real
 * clock and then ask for what "the month" holds; what the turn of a month does is the subject of others, on clocks of
 * their own. Before each file and not once before the run, so that the wait is short and a slow run needs no longer one.
 */
import { setTimeout as pause } from 'node:timers/promises'

/** Longer than a file takes that goes by the real clock, also on a machine that is slower than most. */
const enoughMs = 5 * 60_000

const now = new Date()
const leftMs = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1) - now.getTime()
if (leftMs < enoughMs) {
  console.warn(`WAITING ${Math.ceil(leftMs / 1_000)} s for the month's end, 00:00 UTC: no test is to run across it`)
  await pause(leftMs + 1_000)
}
