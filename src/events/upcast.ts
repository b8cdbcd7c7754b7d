/**
 * Old data → current data, one step of one version at a time. The chain of hashes is computed over the stored bytes,
 * so it is verified before this runs. A golden file in test/events/golden shows each version that was ever written.
 */
import { type CustomerEventType, currentVersion } from './catalogue.ts'

type Step = (data: Record<string, unknown>) => Record<string, unknown>

/** `Type@fromVersion` → the step to the next version. Empty while every type is at its first version. */
const steps: Readonly<Record<string, Step>> = {}

/**
 * Lifts stored data to the current version of its type.
 * @throws Error when the version is newer than this program, or a step is missing
 */
export function upcast(type: CustomerEventType, version: number, data: unknown): unknown {
  const current = currentVersion[type]
  if (version === current) return data
  if (version > current) {
    throw new Error(
      `${type} has schema version ${version}, this program knows up to ${current}: it is older than the log`,
    )
  }
  let lifted = data as Record<string, unknown>
  for (let from = version; from < current; from++) {
    const step = steps[`${type}@${from}`]
    if (step === undefined) throw new Error(`no upcaster from version ${from} of ${type}`)
    lifted = step(lifted)
  }
  return lifted
}
