// A process of the product, as `npm run build` made it, with the roles its environment names, on a clock that a file
// holds (milliseconds since the epoch, decimal): a test moves a month in a minute and kills this when it likes. Prints
// `ready` once it runs, and the log.
import { readFileSync } from 'node:fs'
import { pino } from 'pino'

const built = (module) => import(new URL(`../../../dist/${module}`, import.meta.url).href)
// A test that is killed cannot end it.
const parent = process.ppid
setInterval(() => {
  if (process.ppid !== parent) process.exit(1)
}, 1_000).unref()

const { loadConfig } = await built('config.js')
const { startApp } = await built('main.js')

let last = 0
// The tests replace the file, so it is always whole; time never goes back here.
const now = () => {
  last = Math.max(last, Number(readFileSync(process.env.TEST_CLOCK_FILE, 'utf8')))
  return last
}
const app = await startApp(loadConfig(process.env, '/nonexistent'), {
  log: pino({ level: process.env.LOG_LEVEL }),
  systemClock: now,
  // Nobody has set it: a month in a minute is how fast it goes.
  steadyClock: now,
  databaseClock: async () => new Date(now()),
})
app.failed.then(() => process.exit(1)) // as `liveness start` does; the log says why
process.once('SIGTERM', () => app.stop().then(() => process.exit(0)))
process.stdout.write('ready\n')
