/**
 * The place of an interrupted verification, kept in a file. It says what was read and found until then, so it belongs
 * where those who are audited cannot write.
 */

import { createHash } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import { hashOf } from '../events/chain.ts'
import type { EventStore, Position } from '../eventstore/store.ts'
import { writeWhole } from '../write-whole.ts'
import type { LogMemory } from './verify-log.ts'
import type { Findings, TablesCompared } from './verify-report.ts'

export interface LastEvent {
  readonly position: Position
  readonly stream: string
  readonly revision: bigint
  readonly id: string
  readonly hash: string
}

/** Plain data: maps, sets and integers of any size included. */
export interface VerifyState {
  readonly memory: LogMemory
  readonly findings: Findings
  /** Of the whole log. */
  readonly position: Position
  /** The last event of a customer's stream. */
  readonly last: LastEvent | null
  /** Undefined until they are compared. */
  readonly readModels: TablesCompared | null | undefined
  /** How many customer events had gone by then. */
  readonly metAt: number
}

/** Raise when the shape of the state, or what is checked on the way, changes. */
const stateVersion = 4

/** @param question what is verified: a state answers the same question only */
export async function keepState(path: string, question: string, state: VerifyState): Promise<void> {
  const body = serialize({ stateVersion, question, state })
  // DATA_DIR need not be there where servers of one's own keep everything.
  await mkdir(dirname(path), { recursive: true })
  await writeWhole(path, [Buffer.from(`${sha256(body)}\n`), body])
}

/**
 * The state in the file, or null where there is none, it answers another question, or was damaged.
 * @throws what reading the file throws
 */
export async function loadState(path: string, question: string): Promise<VerifyState | null> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return Buffer.alloc(0)
    throw error
  })
  const end = bytes.indexOf(10)
  const body = bytes.subarray(end + 1)
  if (end < 0 || bytes.subarray(0, end).toString() !== sha256(body)) return null
  const kept: { stateVersion: number; question: string; state: VerifyState } = deserialize(body)
  return kept.stateVersion === stateVersion && kept.question === question ? kept.state : null
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

const atOnce = 16

/**
 * What of the state's log is no longer there: each stream's head must still be the event that was read.
 * @throws EventStoreUnavailable
 */
export async function missingHead(
  log: Pick<EventStore, 'readForward'>,
  { memory }: VerifyState,
): Promise<string | null> {
  const waiting = [...memory.heads]
  let missing: string | null = null
  const next = async (): Promise<void> => {
    for (let one = waiting.pop(); one !== undefined && missing === null; one = waiting.pop()) {
      const [stream, { revision, hash }] = one
      let is = 'nothing'
      for await (const { metadata } of log.readForward(stream, revision, 1)) {
        is = hashOf(metadata)
      }
      if (is !== hash) missing = `${stream} revision ${revision}`
    }
  }
  await Promise.all(Array.from({ length: atOnce }, next))
  return missing
}
