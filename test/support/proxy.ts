import { createServer, connect as dial, type Socket } from 'node:net'

/** A TCP proxy on 127.0.0.1 that misbehaves on command. What it does holds for all connections, new ones included. */
export interface TcpProxy {
  readonly port: number
  /** Connections that are open now. */
  readonly connections: number
  /** Bytes of the server that never reached a client. */
  readonly swallowedBytes: number
  /** Forwards everything; connections that lost bytes are cut first, as no real network would go on with them. */
  pass(): void
  /** Forwards what clients send and drops what the server answers. */
  swallowAnswers(): void
  /** Forwards nothing and keeps everything; `pass` delivers it late. */
  freeze(): void
  /** Forwards everything, in order, so many milliseconds later. */
  delay(ms: number): void
  /** Breaks all connections; new ones are served. */
  cut(): void
  /** Breaks all connections, and every new one, until `pass`. */
  refuse(): void
  stop(): Promise<void>
}

interface Pair {
  readonly client: Socket
  readonly server: Socket
  swallowed: boolean
}

export async function startProxy(targetPort: number): Promise<TcpProxy> {
  const pairs = new Set<Pair>()
  let mode: 'pass' | 'swallow' | 'freeze' | 'refuse' = 'pass'
  let delayMs = 0
  let swallowedBytes = 0

  const listener = createServer((client) => {
    if (mode === 'refuse') {
      client.destroy()
      return
    }
    const pair: Pair = { client, server: dial(targetPort, '127.0.0.1'), swallowed: false }
    pairs.add(pair)
    for (const [from, to, isAnswer] of [
      [pair.client, pair.server, false],
      [pair.server, pair.client, true],
    ] as const) {
      from.setNoDelay(true)
      from.on('data', (chunk) => forward(pair, from, to, chunk, isAnswer))
      from.on('end', () => to.end())
      from.on('error', () => undefined)
      from.on('close', () => {
        to.destroy()
        pairs.delete(pair)
      })
      if (mode === 'freeze') from.pause()
    }
  })

  function forward(pair: Pair, from: Socket, to: Socket, chunk: Buffer, isAnswer: boolean): void {
    if (mode === 'freeze') {
      from.unshift(chunk)
      from.pause()
    } else if (isAnswer && mode === 'swallow') {
      pair.swallowed = true
      swallowedBytes += chunk.length
    } else if (delayMs > 0) {
      setTimeout(() => to.write(chunk), delayMs) // timers of the same length keep their order
    } else if (!to.write(chunk)) {
      from.pause()
      to.once('drain', () => {
        if (mode !== 'freeze') from.resume()
      })
    }
  }

  function breakAll(which: (pair: Pair) => boolean): void {
    for (const pair of [...pairs]) {
      if (!which(pair)) continue
      pair.client.resetAndDestroy()
      pair.server.resetAndDestroy()
      pairs.delete(pair)
    }
  }

  function change(to: typeof mode, newDelayMs = 0): void {
    mode = to
    delayMs = newDelayMs
    for (const { client, server } of pairs) {
      if (to === 'freeze') {
        client.pause()
        server.pause()
      } else {
        client.resume()
        server.resume()
      }
    }
  }

  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const address = listener.address()
  if (address === null || typeof address === 'string') throw new Error('The proxy has no port')

  return {
    port: address.port,
    get connections() {
      return pairs.size
    },
    get swallowedBytes() {
      return swallowedBytes
    },
    pass() {
      breakAll((pair) => pair.swallowed)
      change('pass')
    },
    swallowAnswers: () => change('swallow'),
    freeze: () => change('freeze'),
    delay: (ms) => change('pass', ms),
    cut: () => breakAll(() => true),
    refuse() {
      change('refuse')
      breakAll(() => true)
    },
    async stop() {
      breakAll(() => true)
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}
