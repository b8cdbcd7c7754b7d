import { afterEach, expect, test } from 'vitest'
import { createPool, Overloaded, type Pool } from '../../src/inference/pool.ts'

interface Task {
  kind?: 'throw' | 'die'
  value?: number
  /** [0] opens when it becomes 1, [1] counts the tasks that have started. */
  gate?: Int32Array
}

const pools: Pool<Task, number>[] = []
afterEach(() => Promise.all(pools.splice(0).map((pool) => pool.close())))

function pool(threads: number, queueLimit: number): Pool<Task, number> {
  const worker = new URL('./crashing-worker.mjs', import.meta.url)
  const created = createPool<Task, number>({ worker, workerData: null, threads, queueLimit })
  pools.push(created)
  return created
}

function closedGate() {
  const gate = new Int32Array(new SharedArrayBuffer(8))
  return {
    gate,
    open() {
      Atomics.store(gate, 0, 1)
      Atomics.notify(gate, 0)
    },
    /** Resolves once a task waits at the gate. */
    async reached() {
      while (Atomics.load(gate, 1) === 0) await new Promise((resolve) => setImmediate(resolve))
    },
  }
}

test('tasks beyond the queue limit are refused at once, the accepted ones finish in order', async () => {
  const { run, queueDepth } = pool(1, 2)
  const { gate, open, reached } = closedGate()
  const done: number[] = []
  const accepted = [0, 1, 2].map((value) => run({ value, gate }).then((result) => done.push(result)))
  await reached()
  expect(queueDepth()).toBe(2)
  await expect(run({ value: 3 })).rejects.toBeInstanceOf(Overloaded)
  open()
  await Promise.all(accepted)
  expect(done).toEqual([0, 1, 2])
  expect(queueDepth()).toBe(0)
  await expect(run({ value: 4 })).resolves.toBe(4)
})

test('a waiting task that is aborted leaves the queue and frees its place', async () => {
  const { run, queueDepth } = pool(1, 1)
  const { gate, open, reached } = closedGate()
  const running = run({ value: 1, gate })
  await reached()
  const abort = new AbortController()
  const waiting = run({ value: 2 }, [], abort.signal)
  abort.abort(new Error('the client went away'))
  await expect(waiting).rejects.toThrow('the client went away')
  expect(queueDepth()).toBe(0)
  const next = run({ value: 3 })
  open()
  expect(await Promise.all([running, next])).toEqual([1, 3])
})

test('an abort while the task runs lets go of the caller, and the thread lives on', async () => {
  const { run } = pool(1, 1)
  const { gate, open, reached } = closedGate()
  const abort = new AbortController()
  const running = run({ value: 1, gate }, [], abort.signal)
  await reached()
  abort.abort(new Error('too late'))
  await expect(running).rejects.toThrow('too late')
  const next = run({ value: 2 })
  open()
  await expect(next).resolves.toBe(2)
})

test('a signal that is aborted already keeps the task from starting', async () => {
  await expect(pool(1, 1).run({ value: 1 }, [], AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone')
})

test('what a task throws is what its caller gets', async () => {
  const { run } = pool(1, 1)
  await expect(run({ kind: 'throw' })).rejects.toThrow('as asked')
  await expect(run({ value: 1 })).resolves.toBe(1)
})

test('a thread that dies fails its own task only, again and again', async () => {
  const { run } = pool(2, 100)
  for (let round = 0; round < 3; round++) {
    const results = await Promise.allSettled([
      run({ value: 1 }),
      run({ kind: 'die' }),
      run({ value: 2 }),
      run({ kind: 'die' }),
      run({ value: 3 }),
    ])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled'])
  }
})

test('a task that cannot be sent to a thread fails and gives its place back', async () => {
  const { run } = pool(1, 0)
  const unsendable = { value: (() => 1) as unknown as number }
  await expect(run(unsendable)).rejects.toThrow('could not be cloned')
  await expect(run({ value: 2 })).resolves.toBe(2)
})

test('closing refuses new tasks and finishes those running and waiting', async () => {
  const { run, close } = pool(1, 5)
  const { gate, open, reached } = closedGate()
  const accepted = Promise.all([run({ value: 1, gate }), run({ value: 2 }), run({ value: 3 })])
  await reached()
  const closed = close()
  await expect(run({ value: 4 })).rejects.toBeInstanceOf(Overloaded)
  open()
  expect(await accepted).toEqual([1, 2, 3])
  await closed
  await close()
})
