import type { ServerWritableStream } from '@grpc/grpc-js'

/** The sending end of a call that answers with many messages, each encoded already. */
export interface Outbox {
  /** False once the client is gone: nothing more need be done for it. */
  readonly open: boolean
  /** Sends one message; when it returns false, `drained` must be awaited before the next. */
  send(message: Buffer): boolean
  /** Resolves when the client has taken enough, or is gone. */
  drained(): Promise<void>
  /** Resolves at the next `wake`, or when the client is gone. */
  woken(): Promise<void>
  wake(): void
}

/**
 * Back-pressure and cancellation of a call through one wake-up, so that an endless subscription registers its
 * listeners once and not for each event.
 */
export function createOutbox(call: ServerWritableStream<unknown, Buffer>): Outbox {
  let open = true
  let full = false
  let awake = false
  let sleeper: (() => void) | undefined

  function wake(): void {
    awake = true
    const wakeSleeper = sleeper
    sleeper = undefined
    wakeSleeper?.()
  }
  function closed(): void {
    open = false
    wake()
  }
  call.on('cancelled', closed)
  call.on('close', closed)
  call.on('error', closed)
  call.on('drain', () => {
    full = false
    wake()
  })

  function woken(): Promise<void> {
    return new Promise((resolve) => {
      if (awake || !open) {
        awake = false
        resolve()
      } else {
        sleeper = () => {
          awake = false
          resolve()
        }
      }
    })
  }

  return {
    get open() {
      return open
    },
    send(message) {
      if (open && !call.write(message)) full = true
      return !full
    },
    async drained() {
      while (full && open) await woken()
    },
    woken,
    wake,
  }
}
