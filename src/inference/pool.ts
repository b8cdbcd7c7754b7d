import { Piscina } from 'piscina'

/** Too much is waiting already, or the pool is shutting down. Nothing was done; the caller may try again later. */
export class Overloaded extends Error {
  override readonly name = 'Overloaded'
}

export interface PoolOptions {
  /** A JavaScript module whose default export takes a task and returns its result. */
  worker: URL
  /** Handed to every worker thread as it starts. */
  workerData: unknown
  threads: number
  /** Tasks that may wait while all threads are busy. */
  queueLimit: number
}

export interface Pool<Task, Result> {
  /**
   * @param transfer buffers that move to the worker and are empty here afterwards
   * @param signal drops the task while it waits; one that runs already is finished, but nobody waits for it any more
   * @throws Overloaded, the signal's reason, what the worker threw, or an Error when the worker died
   */
  run(task: Task, transfer?: ArrayBuffer[], signal?: AbortSignal): Promise<Result>
  /** Tasks waiting, those running not counted. */
  queueDepth(): number
  /** Refuses new tasks, finishes those accepted, then ends the threads. */
  close(): Promise<void>
}

/**
 * A bounded first-in-first-out queue in front of piscina's worker threads.
 *
 * The queue is ours and not piscina's because piscina ends a thread whose running task is aborted (and with it the
 * models it has loaded). Here each thread has at most one task, and an abort concerns only those that wait.
 */
export function createPool<Task, Result>(options: PoolOptions): Pool<Task, Result> {
  const piscina = new Piscina<Task, Result>({
    filename: options.worker.href,
    workerData: options.workerData,
    minThreads: options.threads,
    maxThreads: options.threads,
    idleTimeout: Number.POSITIVE_INFINITY,
  })
  // A thread that dies between two tasks is replaced by piscina; without a listener the event would end the process.
  piscina.on('error', () => {})
  const waiting = new Set<() => void>()
  let running = 0
  let closing: Promise<void> | undefined
  let drained: (() => void) | undefined

  function release(): void {
    running--
    const [next] = waiting
    if (next) {
      waiting.delete(next)
      next()
    } else if (running === 0) drained?.()
  }

  /** Resolves when the caller may use a thread, which it then owes a release(). */
  function turn(signal: AbortSignal | undefined): Promise<void> {
    if (running < options.threads) {
      running++
      return Promise.resolve()
    }
    if (waiting.size >= options.queueLimit) throw new Overloaded('Too many checks are waiting')
    return new Promise((resolve, reject) => {
      const start = () => {
        signal?.removeEventListener('abort', drop)
        running++
        resolve()
      }
      const drop = () => {
        waiting.delete(start)
        reject(signal?.reason)
      }
      waiting.add(start)
      signal?.addEventListener('abort', drop, { once: true })
    })
  }

  return {
    async run(task, transfer = [], signal) {
      if (closing) throw new Overloaded('The service is shutting down')
      signal?.throwIfAborted()
      await turn(signal)
      const result = (async () => {
        try {
          return await piscina.run(task, { transferList: transfer })
        } finally {
          release()
        }
      })()
      return signal ? unlessAborted(result, signal) : result
    },
    queueDepth: () => waiting.size,
    close() {
      closing ??= (async () => {
        if (running > 0) await new Promise<void>((resolve) => (drained = resolve))
        await piscina.destroy()
      })()
      return closing
    },
  }
}

function unlessAborted<T>(result: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    result.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
