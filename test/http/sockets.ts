/** Requests by hand on a real socket, for what a well-behaved client never does. */
import { connect, type Socket } from 'node:net'

export interface Exchange {
  readonly socket: Socket
  /** Everything received so far. */
  received(): string
  /** Resolves when the received text matches. Rejects when the connection closes before. */
  until(pattern: RegExp): Promise<string>
  /** Resolves with how the connection ended. */
  readonly closed: Promise<'clean' | 'reset'>
}

export function openSocket(port: number): Exchange {
  const socket = connect({ port, host: '127.0.0.1' })
  let text = ''
  let failed = false
  let onChange: () => void = () => {}
  socket.setEncoding('utf8')
  socket.on('data', (chunk: string) => {
    text += chunk
    onChange()
  })
  socket.on('error', () => {
    failed = true
  })
  const closed = new Promise<'clean' | 'reset'>((resolve) => {
    socket.once('close', () => {
      resolve(failed ? 'reset' : 'clean')
      onChange()
    })
  })
  return {
    socket,
    closed,
    received: () => text,
    until: (pattern) =>
      new Promise((resolve, reject) => {
        onChange = () => {
          if (pattern.test(text)) resolve(text)
          else if (socket.destroyed) reject(new Error(`closed before ${pattern}; received: ${text}`))
        }
        onChange()
      }),
  }
}

/** The head of a check with a body of `length` bytes. */
export const checkHead = (key: string, length: number, more = ''): string =>
  `POST /v1/check/liveness HTTP/1.1\r\nHost: localhost\r\nX-API-Key: ${key}\r\nContent-Type: application/json\r\n` +
  `Content-Length: ${length}\r\n${more}\r\n`
