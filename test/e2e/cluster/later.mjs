// What `liveness start` does, by a clock that is CLOCK_SHIFT_MS ahead of this machine's and of Postgres's: several
// processes pass a month's end together. Run `npm run build` first: it loads dist/.
const built = (module) => import(new URL(`../../../dist/${module}`, import.meta.url).href)
const { firstSignal } = await built('app/shutdown.js')
const { loadConfig } = await built('config.js')
const { createLogger, roleLog } = await built('http/logging.js')
const { startApp } = await built('main.js')
const { connect, databaseTime } = await built('postgres/pool.js')

const loaded = loadConfig()
const log = createLogger(loaded.config.LOG_LEVEL)
process.removeAllListeners('warning')
process.on('warning', (warning) => roleLog(log, 'test').warn({ err: warning }, warning.message))
const shiftMs = Number(process.env.CLOCK_SHIFT_MS)
const pool = connect(loaded.config.DATABASE_URL, { max: 1, onIdleError() {} })
const app = await startApp(loaded, {
  log,
  systemClock: () => Date.now() + shiftMs,
  databaseClock: async () => new Date((await databaseTime(pool)).getTime() + shiftMs),
})
roleLog(log, app.roles).info('started')
app.failed.then(() => process.exit(1))
await firstSignal(log)
await app.stop()
process.exit(0)
