// A worker for the pool's tests: waits until told to go on, echoes, throws, or dies.
export default function run(task) {
  if (task.gate) {
    Atomics.add(task.gate, 1, 1)
    Atomics.notify(task.gate, 1)
    Atomics.wait(task.gate, 0, 0)
  }
  if (task.kind === 'throw') throw new Error('as asked')
  if (task.kind === 'die') process.exit(3)
  return task.value
}
