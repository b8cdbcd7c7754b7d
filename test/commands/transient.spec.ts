import { expect, test } from 'vitest'
import { ClockOutOfService } from '../../src/commands/clock.ts'
import { LedgerUnavailable, LogMismatch } from '../../src/commands/errors.ts'
import { passesByItself } from '../../src/commands/transient.ts'
import { NotFreshYet } from '../../src/readmodels/freshness.ts'

test('what passes by itself is told from faults that do not', () => {
  const passing = [new NotFreshYet('behind'), new LedgerUnavailable('away'), new ClockOutOfService('apart')]
  const staying = [new LogMismatch('a gap'), new TypeError('ours'), null]
  expect([...passing, ...staying].map(passesByItself)).toEqual([true, true, true, false, false, false])
})
