/** Bundles of a console under test: made by the product's own code from the test's log, without the child process. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { onTestFinished } from 'vitest'
import { keepAnchor } from '../../src/audit/anchor-files.ts'
import { exportBundle } from '../../src/audit/export.ts'
import { takeAnchor } from '../../src/audit/take-anchor.ts'
import type { EventStore } from '../../src/eventstore/store.ts'
import { appendTick } from '../../src/relay/ticks.ts'

export function createBundles(store: EventStore, now: () => string) {
  const { privateKey: signingKey } = generateKeyPairSync('ed25519')
  const anchorDir = mkdtempSync(join(tmpdir(), 'liveness-anchors-'))
  onTestFinished(() => rm(anchorDir, { recursive: true, force: true }))
  const onBadAnchor = (error: Error) => {
    throw error
  }
  const tick = () => appendTick({ store, clock: { now }, databaseClock: async () => new Date(now()) })
  return {
    signingKey,
    keys: [createPublicKey(signingKey)],
    anchorDir,
    /** Signs the log as it is now. Each must be later than the one before. */
    async anchor(): Promise<void> {
      await keepAnchor(anchorDir, await takeAnchor({ store, signingKey, tick }, { earlier: null, fresh: true }))
    },
    bundle: async (customerId: string, month: string) =>
      Readable.from(await exportBundle({ store, signingKey, anchorDir, onBadAnchor, now }, customerId, month)),
  }
}
