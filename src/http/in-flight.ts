/** The requests that are being worked on, so that a close can wait for them. */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

export interface InFlight {
  add(response: ServerResponse): void
  /** Resolves when nothing is in flight, or after `graceMs`. */
  settled(graceMs: number): Promise<void>
  /** The unfinished response on a connection. */
  on(socket: Socket): ServerResponse | undefined
}

export function createInFlight(): InFlight {
  const responses = new Set<ServerResponse>()
  const watched = new WeakSet<Socket>()
  let whenEmpty: () => void = () => {}

  function remove(this: ServerResponse) {
    if (responses.delete(this) && responses.size === 0) whenEmpty()
  }

  /** Of pipelined requests only the one whose turn it is hears from Node that the connection is gone: tell the others. */
  function watch(socket: Socket) {
    if (watched.has(socket)) return
    watched.add(socket)
    socket.once('close', () => {
      for (const response of responses) {
        if (response.req.socket === socket && response.socket === null) response.emit('close')
      }
    })
  }

  return {
    add(response) {
      responses.add(response)
      response.once('finish', remove).once('close', remove)
      watch(response.req.socket)
    },
    settled(graceMs) {
      if (responses.size === 0) return Promise.resolve()
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, graceMs)
        whenEmpty = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    },
    on: (socket) => [...responses].find((response) => response.socket === socket),
  }
}
