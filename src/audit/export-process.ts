/**
 * The child process that makes one bundle. The bytes go to its standard output, whose pipe makes it wait for a slow
 * reader; everything else is said over the channel. It leaves when its parent does.
 */
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { once } from 'node:events'
import { asError } from '../as-error.ts'
import { connectEventStore } from '../eventstore/client.ts'
import { exportBundle } from './export.ts'

export interface ExportTask {
  readonly eventStoreUrl: string
  readonly anchorDir: string
  /** PKCS #8, PEM. */
  readonly signingKey: string
  /** Public keys that signed anchors before a rotation, SPKI, PEM. */
  readonly olderKeys?: readonly string[]
  readonly customerId: string
  /** UTC, `YYYY-MM`. */
  readonly month: string
  /** For the manifest's `createdAt`. ISO 8601 UTC. */
  readonly now: string
}

export type ExportNews =
  | { readonly kind: 'bad_anchor'; readonly message: string }
  | { readonly kind: 'begins' }
  | { readonly kind: 'failed'; readonly name: string; readonly message: string }

const say = (news: ExportNews) => void process.send?.(news)

async function work(task: ExportTask): Promise<void> {
  const { eventStoreUrl, anchorDir, signingKey, olderKeys = [], customerId, month, now } = task
  const store = connectEventStore(eventStoreUrl)
  try {
    const source = {
      store,
      signingKey: createPrivateKey(signingKey),
      olderKeys: olderKeys.map((pem) => createPublicKey(pem)),
      anchorDir,
      onBadAnchor: ({ message }: Error) => say({ kind: 'bad_anchor', message }),
      now: () => now,
    }
    const bundle = await exportBundle(source, customerId, month)
    say({ kind: 'begins' })
    for await (const chunk of bundle) if (!process.stdout.write(chunk)) await once(process.stdout, 'drain')
  } catch (error) {
    const { name, message } = asError(error)
    say({ kind: 'failed', name, message })
    process.exitCode = 1
  } finally {
    await store.close()
  }
}

const leave = () => process.exit()
process.on('disconnect', leave)
process.once('message', async (task: ExportTask) => {
  await work(task)
  // What was said and written is still delivered: the process ends by itself when nothing is left.
  process.off('disconnect', leave)
  process.disconnect()
})
