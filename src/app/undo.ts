/** What has been started, and how it is stopped: in the opposite order, each part whatever became of the others. */
import type { Logger } from 'pino'

export interface Undo {
  /** Remembers how to stop a part that has just started. */
  add(part: string, stop: () => Promise<void>): void
  /** Stops all of them. Safe to call twice; never rejects: what fails is logged. */
  run(): Promise<void>
}

export function createUndo(log: Logger): Undo {
  const steps: [part: string, stop: () => Promise<void>][] = []
  let running: Promise<void> | undefined
  async function run(): Promise<void> {
    for (const [part, stop] of steps.reverse()) {
      log.debug(`stopping: ${part}`)
      await stop().catch((error: unknown) => log.error({ err: error }, `stopping ${part} failed`))
    }
  }
  return {
    add: (part, stop) => void steps.push([part, stop]),
    run() {
      running ??= run()
      return running
    },
  }
}
