import { expect, test } from 'vitest'
import { meteringRules } from '../../src/app/metering.ts'
import { ConfigError, loadConfig } from '../../src/config.ts'

const rulesOf = (environment: Record<string, string>) => meteringRules(loadConfig(environment, '/nowhere/.env').config)

test("the defaults are AWS's rules, ten minutes of grace, and nothing sent", () => {
  expect(rulesOf({})).toEqual({
    graceMs: 600_000,
    windowHours: 24,
    monthCloseHour: 6,
    carryForward: true,
    heartbeat: false,
    submit: false,
    region: 'us-east-1',
  })
})

test.each([
  ['a window of one hour: an hour is sealed when it is over', { METERING_WINDOW_HOURS: '1' }],
  ['a grace as long as the window', { METERING_WINDOW_HOURS: '2', METERING_GRACE: '3600' }],
  ["a grace that outlasts a month's end", { METERING_MONTH_CLOSE_HOUR: '1', METERING_GRACE: '3060' }],
])('%s is refused: everything would miss its deadline', (_, environment) => {
  expect(() => rulesOf(environment)).toThrow(ConfigError)
})

test('the narrowest settings that leave time to send are taken', () => {
  const narrow = { METERING_WINDOW_HOURS: '2', METERING_MONTH_CLOSE_HOUR: '1', METERING_GRACE: '3000' }
  expect(rulesOf(narrow)).toMatchObject({ windowHours: 2, monthCloseHour: 1, graceMs: 3_000_000 })
})
