/**
 * A world in virtual time for the whole way of an overage call. Nothing in it is concurrent but by timers, and every
 * timer's length comes from one seeded generator, so a seed is a run: the same interleavings, crashes and lost answers.
 * Use with vitest's fake timers.
 */

/** Mulberry32: small, seedable, good enough to choose interleavings. */
export function seeded(seed: number) {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
  return {
    next,
    /** An integer from 0 to `below` − 1. */
    int: (below: number): number => Math.floor(next() * below),
    chance: (probability: number): boolean => next() < probability,
    pick<T>(items: readonly T[]): T {
      const item = items[Math.floor(next() * items.length)]
      if (item === undefined) throw new Error('nothing to pick from')
      return item
    },
  }
}
export type Random = ReturnType<typeof seeded>

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** What every call of a process that has been killed ends with. */
export class Crashed extends Error {
  override name = 'Crashed'
}

/** A process of the product: it reaches the world through `io` only, and after its death through nothing. */
export interface SimProcess {
  readonly signal: AbortSignal
  readonly alive: boolean
  kill(): void
  /** One call into the world: it takes time, and the process may die before it or after its effect. */
  io<T>(call: () => T | Promise<T>): Promise<T>
}

export interface Weather {
  /** Probability that one call is the process's last. Set to 0 when everything is to heal. */
  crash: number
  /** Longest time that one call takes, in milliseconds. */
  latencyMs: number
}

export function startProcess(random: Random, weather: Weather): SimProcess {
  const death = new AbortController()
  const check = () => {
    if (death.signal.aborted) throw new Crashed('the process is dead')
  }
  return {
    signal: death.signal,
    get alive() {
      return !death.signal.aborted
    },
    kill: () => death.abort(),
    async io(call) {
      // Not every call: timers are what a run spends its time on.
      if (random.chance(0.2)) await pause(random.int(weather.latencyMs))
      check()
      const [before, after] = [random.chance(weather.crash / 2), random.chance(weather.crash / 2)]
      if (before) death.abort()
      check()
      const result = await call()
      if (after) death.abort()
      check()
      return result
    },
  }
}

/** Runs `life` again and again, each time as a new process, until `ended`; a crash costs some time. */
export async function keepRunning(
  random: Random,
  weather: Weather,
  ended: () => boolean,
  life: (process: SimProcess) => Promise<void>,
): Promise<void> {
  while (!ended()) {
    const process = startProcess(random, weather)
    try {
      await life(process)
    } catch (error) {
      if (!(error instanceof Crashed) && process.alive) throw error
    }
    await pause(random.int(60_000))
  }
}
