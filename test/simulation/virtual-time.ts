/**
 * Timers and the clock in virtual time, for thousands of runs: a run is nothing but timers, and vitest's own cost a
 * fifth of it. Everything that is waited for must be a timer, or be done when the microtasks are.
 */

interface Timer {
  readonly id: number
  readonly at: number
  run(): void
}

export interface VirtualTime {
  /** Runs what is due, in its order, until so many milliseconds are over. */
  advance(ms: number): Promise<void>
  /** The clock shows another time, milliseconds since 1970; timers keep what is left of them. */
  setClock(to: number): void
  /** Gives back the real timers and the real clock. */
  restore(): void
}

export function virtualTime(): VirtualTime {
  const real = { Date, setTimeout, clearTimeout, setImmediate, clearImmediate }
  /** Timers by their time, then in the order they were set. */
  const timers: Timer[] = []
  let elapsed = 0
  let clockAhead = 0
  let serial = 0

  function set(run: () => void, ms = 0): number {
    serial += 1
    const timer = { id: serial, at: elapsed + Math.max(0, ms), run }
    let place = timers.length
    while (place > 0 && (timers[place - 1]?.at ?? 0) > timer.at) place -= 1
    timers.splice(place, 0, timer)
    return serial
  }
  function clear(id: number | undefined): void {
    const place = timers.findIndex((timer) => timer.id === id)
    if (place >= 0) timers.splice(place, 1)
  }
  /** A real macrotask comes when no microtask is left. */
  const settled = () => new Promise<void>((resolve) => real.setImmediate(resolve))

  class VirtualDate extends real.Date {
    constructor(...args: [] | [number | string | Date]) {
      if (args.length === 0) super(elapsed + clockAhead)
      else super(args[0])
    }
    static override now = () => elapsed + clockAhead
    static override [Symbol.hasInstance] = (value: unknown) => value instanceof real.Date
  }
  Object.assign(globalThis, {
    Date: VirtualDate,
    setTimeout: (run: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => set(() => run(...args), ms),
    clearTimeout: clear,
    setImmediate: (run: (...args: unknown[]) => void, ...args: unknown[]) => set(() => run(...args)),
    clearImmediate: clear,
  })
  performance.now = () => elapsed

  return {
    async advance(ms) {
      const until = elapsed + ms
      await settled()
      for (let next = timers[0]; next !== undefined && next.at <= until; next = timers[0]) {
        timers.shift()
        elapsed = next.at
        next.run()
        await settled()
      }
      elapsed = until
    },
    setClock(to) {
      clockAhead = to - elapsed
    },
    restore() {
      Object.assign(globalThis, real)
      // The real one stands in the prototype.
      Reflect.deleteProperty(performance, 'now')
    },
  }
}

/** Lets virtual time pass until the work is done. */
export async function inTime<T>(time: VirtualTime, work: Promise<T>): Promise<T> {
  let done = false
  const settled = work.finally(() => {
    done = true
  })
  settled.catch(() => {})
  while (!done) await time.advance(10)
  return settled
}

/** The same for an iteration. */
export async function inTimeOf<T>(time: VirtualTime, source: AsyncIterable<T>): Promise<T[]> {
  return inTime(
    time,
    (async () => {
      const all: T[] = []
      for await (const item of source) all.push(item)
      return all
    })(),
  )
}
