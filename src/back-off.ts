const firstPauseMs = 100
const maxPauseMs = 10_000

/** Milliseconds to wait after so many failures in a row, from 1: doubled each time up to 10 s, half of it by chance. */
export function backOffMs(failures: number): number {
  const ceiling = Math.min(firstPauseMs * 2 ** (failures - 1), maxPauseMs)
  return ceiling * (0.5 + Math.random() / 2)
}
