/**
 * Answering before the body was read. If the server closes a connection on which the client still sends, TCP resets it
 * and the client never sees the answer. So the answer goes out whole at once, the rest of the body is read and thrown
 * away within limits, and only then is the connection closed (what nginx calls lingering close).
 */
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'

const maxDrainedBytes = 24 * 1024 * 1024
const maxDrainMs = 30_000
const maxIdleMs = 5_000

/** Whether the client may still be sending. */
export function bodyIsUnread(request: IncomingMessage): boolean {
  if (request.complete || request.readableEnded || request.destroyed) return false
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers
  return encoding !== undefined || Number(length ?? 0) > 0
}

/** A body for the answer that is all there at once and ends when the client has stopped sending. */
export function answerThenDrain(request: IncomingMessage, answer: string): Readable {
  return Readable.from(
    (async function* () {
      yield Buffer.from(answer)
      await drain(request)
    })(),
    { objectMode: false },
  )
}

function drain(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0
    const idle = setTimeout(done, maxIdleMs)
    const limit = setTimeout(done, maxDrainMs)
    function done() {
      clearTimeout(idle)
      clearTimeout(limit)
      request.off('data', onData).off('end', done).off('close', done).off('error', done)
      resolve()
    }
    function onData(chunk: Buffer) {
      bytes += chunk.length
      idle.refresh()
      if (bytes > maxDrainedBytes) done()
    }
    if (request.readableEnded || request.destroyed) return done()
    request.on('data', onData).once('end', done).once('close', done).once('error', done)
    request.resume()
  })
}
