import { expect, test } from 'vitest'
import { placeOf } from '../../src/metering/kafka-place.ts'

const log = { low: 10n, high: 20n }

test.each([
  ['from where the rows stand', 15n, log, { offset: 15n, lost: null }],
  ['from its end, when all was read', 20n, log, { offset: 20n, lost: null }],
  ['from the start, when nothing was read', null, { low: 0n, high: 20n }, { offset: 0n, lost: null }],
  ['from the start of an empty partition', null, { low: 0n, high: 0n }, { offset: 0n, lost: null }],
  ['from what is left, when messages were deleted unread', 9n, log, { offset: 10n, lost: 'messages' }],
  ['from what is left, when they were deleted before the first read', null, log, { offset: 10n, lost: 'messages' }],
  ['from the start, when the topic was made anew', 21n, { low: 0n, high: 3n }, { offset: 0n, lost: 'topic' }],
  [
    'from the start, when the topic was made anew and is empty',
    1n,
    { low: 0n, high: 0n },
    { offset: 0n, lost: 'topic' },
  ],
] as const)('a partition is read %s', (_, next, extent, place) => {
  expect(placeOf(next, extent)).toEqual(place)
})
