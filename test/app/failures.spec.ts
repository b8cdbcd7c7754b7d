import { expect, test } from 'vitest'
import { createFailures } from '../../src/app/failures.ts'
import { createLogger } from '../../src/http/logging.ts'

test('every role that has stopped is named, not the last one alone, and an API goes on', async () => {
  const { roleStopped, stopped, failed } = createFailures(['api', 'relay', 'metering'], createLogger('silent'))
  expect(stopped()).toEqual([])
  roleStopped('relay', new Error('the topic is another one'))
  roleStopped('metering', new Error('the tables are newer'))
  expect(stopped()).toEqual([
    'The relay has stopped for good: the topic is another one',
    'Metering has stopped for good: the tables are newer',
  ])
  expect(await Promise.race([failed, 'goes on'])).toBe('goes on')
})
