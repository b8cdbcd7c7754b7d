/** Bundles taken apart and put together again. */
import { createHash, createPublicKey, type KeyObject, sign } from 'node:crypto'
import canonicalize from 'canonicalize'
import { keyId } from '../../src/audit/anchor.ts'
import type { BundleReport } from '../../src/audit/check-bundle.ts'
import { eventHash } from '../../src/events/chain.ts'

export const faultsOf = ({ differences }: BundleReport) => differences.map(({ where, fault }) => `${where}: ${fault}`)

// biome-ignore lint/suspicious/noExplicitAny: lines are taken apart and put together wrongly on purpose.
export type Line = Record<string, any>
export const linesOf = (bundle: Buffer): Line[] =>
  bundle
    .toString()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
export const bundleOf = (lines: readonly Line[]): Buffer =>
  Buffer.from(lines.map((line) => `${canonicalize(line)}\n`).join(''))

/** Hashes the part's events anew, so that their chain is whole from the first of them on. */
export function rechain(lines: Line[], part: 'event' | 'metering'): void {
  const events = lines.filter((line) => line.part === part).map(({ event }) => event)
  let prevHash = events[0]?.metadata.prevHash
  let revision = BigInt(events[0]?.revision ?? 0)
  for (const event of events) {
    event.revision = revision.toString()
    event.metadata.prevHash = prevHash
    event.metadata.hash = eventHash({ ...event, revision })
    prevHash = event.metadata.hash
    revision += 1n
  }
}

/** As whoever holds a key would: counts, hashes and signature are right again. */
export function resign(lines: readonly Line[], key: KeyObject): Line[] {
  const body = lines.filter(({ part }) => part !== 'manifest')
  const manifest = structuredClone(lines.find(({ part }) => part === 'manifest')?.manifest)
  for (const signed of manifest.parts) {
    const bytes = bundleOf(body.filter(({ part }) => part === signed.part))
    signed.lines = body.filter(({ part }) => part === signed.part).length
    signed.bytes = bytes.length
    signed.sha256 = createHash('sha256').update(bytes).digest('hex')
  }
  manifest.key = keyId(createPublicKey(key))
  const signature = sign(null, Buffer.from(canonicalize(manifest) ?? ''), key).toString('base64')
  return [...body, { part: 'manifest', manifest, signature }]
}
