/**
 * A process of the product with the roles its environment names, on a clock that a file holds (milliseconds since the
 * epoch, decimal): a test moves a month in a minute and kills this when it likes. Prints `ready` once it runs.
 */
import { readFileSync } from 'node:fs'
import { pino } from 'pino'
import { loadConfig } from '../../../src/config.ts'
import { startApp } from '../../../src/main.ts'

const file = process.env.TEST_CLOCK_FILE
if (file === undefined) throw new Error('TEST_CLOCK_FILE names the file that holds the time')

let last = 0
/** A reader may meet the file while it is being replaced; the clock then stands still for a moment. */
const now = (): number => {
  const read = Number(readFileSync(file, 'utf8'))
  if (read > last) last = read
  return last
}
const log = pino({ level: process.env.LOG_LEVEL ?? 'warn' })
const app = await startApp(loadConfig(process.env, '/nonexistent'), {
  log,
  systemClock: now,
  databaseClock: async () => new Date(now()),
})
process.once('SIGTERM', () => app.stop().then(() => process.exit(0)))
process.stdout.write('ready\n')
