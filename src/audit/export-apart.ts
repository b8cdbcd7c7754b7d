/**
 * Makes a bundle in a niced child process: to verify one anchor of 10,000 customers takes more than a second of a core
 * at a stretch, and every event is hashed anew. In the process that answers detections they would all wait for that.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { getPriority, setPriority } from 'node:os'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { builtModule } from '../built.ts'
import { LogMismatch } from '../commands/errors.ts'
import { UnreadableEvent } from '../events/parse.ts'
import { EventStoreUnavailable } from '../eventstore/store.ts'
import { NotAnchoredYet } from './choose-anchors.ts'
import { NothingToExport } from './export.ts'
import type { ExportNews, ExportTask } from './export-process.ts'

/** Under load the child gets a fraction of a core, and never none. */
const niceness = 10
/** What the program tells apart; an Error does not come through the channel with its class. */
const known = [NothingToExport, NotAnchoredYet, EventStoreUnavailable, LogMismatch, UnreadableEvent]

/**
 * The bundle's bytes; the month's anchors are not taken here, only found. To destroy the stream ends the child. A
 * stream that ends without an error holds the whole bundle.
 *
 * @throws NothingToExport, NotAnchoredYet, EventStoreUnavailable, LogMismatch, UnreadableEvent; the stream: the same
 */
export async function exportApart(task: ExportTask, onBadAnchor: (message: string) => void): Promise<Readable> {
  const child = fork(fileURLToPath(builtModule(import.meta.url, './export-process.js')), {
    execArgv: [],
    // A group of its own: Ctrl-C lets downloads under way finish.
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  // When both have happened, all that the child said has been heard.
  const ended = Promise.all([once(child, 'exit'), once(child, 'disconnect')])
  let failure: Error | undefined
  const begun = new Promise<void>((resolve, reject) => {
    child.on('message', (news: ExportNews) => {
      if (news.kind === 'begins') resolve()
      else if (news.kind === 'bad_anchor') onBadAnchor(news.message)
      else failure = errorOf(news)
    })
    ended.then(([[code, signal]]) => reject(failure ?? new Error(endedBy(code, signal))), reject)
  })
  if (child.pid !== undefined) setPriority(child.pid, Math.max(getPriority(), niceness))
  child.send(task, () => {}) // a child that cannot be told has ended, which is seen above
  await begun

  async function* bytes(): AsyncGenerator<Buffer> {
    yield* child.stdout ?? []
    const [[code, signal]] = await ended
    if (code !== 0) throw failure ?? new Error(endedBy(code, signal))
  }
  return Readable.from(bytes(), { objectMode: false }).once('close', () => child.kill('SIGKILL'))
}

function errorOf({ name, message }: Extract<ExportNews, { kind: 'failed' }>): Error {
  const Kind = known.find((kind) => kind.name === name) ?? Error
  return new Kind(message)
}

const endedBy = (code: unknown, signal: unknown): string =>
  `The process that makes bundles ended by itself (${signal ?? `exit code ${code}`}).`
