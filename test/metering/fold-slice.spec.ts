import { expect, test } from 'vitest'
import { LogMismatch } from '../../src/commands/errors.ts'
import { UnreadableEvent } from '../../src/events/parse.ts'
import { foldSlice } from '../../src/metering/fold-slice.ts'
import type { Fed, Watermark } from '../../src/relay/feed.ts'

const item: Watermark = {
  kind: 'watermark',
  partition: 1,
  through: '2026-03-05T10:00:00.000Z',
  position: { commit: 1n, prepare: 1n },
  count: 0n,
}
const fed: Fed[] = Array.from({ length: 5 }, (_, i) => ({ item, offset: BigInt(i) }))

/** Folds `fed` with a consumer that fails as `fault` says, asked before each transaction for what it holds. */
async function fold(fault: (offsets: number[]) => Error | undefined, signal = new AbortController().signal) {
  const taken: number[] = []
  const troubles: string[] = []
  let beats = 0
  const slice = foldSlice(1, fed, {
    async consume(_, part) {
      const offsets = part.map(({ offset }) => Number(offset))
      const error = fault(offsets)
      if (error !== undefined) throw error
      taken.push(...offsets)
    },
    heartbeat: async () => {
      beats += 1
    },
    signal,
    onTrouble: ({ message }) => troubles.push(message),
  })
  return { ...(await slice), taken, troubles, beats }
}

test('a failure of the servers is retried, with heartbeats, until it is over', async () => {
  let failures = 0
  const result = await fold(() => (failures++ < 3 ? new Error('connection refused') : undefined))
  expect(result).toMatchObject({ folded: 5, halt: null, taken: [0, 1, 2, 3, 4], beats: 3 })
  expect(result.troubles).toEqual(Array(3).fill('connection refused'))
})

test('what stands before an item that cannot be read is folded, and the item is known', async () => {
  const unreadable = new UnreadableEvent('cannot read it')
  const result = await fold((offsets) => (offsets.includes(3) ? unreadable : undefined))
  expect(result).toMatchObject({ folded: 3, halt: unreadable, taken: [0, 1, 2], troubles: [] })
})

test('a bug is tried again and then stops at its item', async () => {
  const bug = new TypeError('x is undefined')
  const result = await fold((offsets) => (offsets.includes(2) ? bug : undefined))
  expect(result).toMatchObject({ folded: 2, halt: bug, taken: [0, 1] })
  expect(result.troubles).toEqual(Array(2).fill('x is undefined'))
})

test('a bug of the moment stops nothing', async () => {
  let failures = 0
  const result = await fold((offsets) => (offsets.includes(2) && failures++ < 2 ? new TypeError('x') : undefined))
  expect(result).toMatchObject({ folded: 5, halt: null, taken: [0, 1, 2, 3, 4] })
})

test('another log ends the feed at once', async () => {
  const other = new LogMismatch('another log')
  await expect(fold(() => other)).rejects.toBe(other)
})

test('whoever stops the feed does not wait for a server to come back', async () => {
  const stopping = new AbortController()
  const folding = fold(() => new Error('connection refused'), stopping.signal)
  stopping.abort()
  await expect(folding).rejects.toThrow()
})
