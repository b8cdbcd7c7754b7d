/** Whether this process can serve: asked by load balancers, answered within a second or two. */
import { customerStream } from '../events/catalogue.ts'
import type { System } from './system.ts'

const patienceMs = 1_500
/** A stream that does not exist: reading it asks the event store for an answer and for nothing else. */
const probe = customerStream('00000000-0000-0000-0000-000000000000')

export type Ailment = null | 'database unavailable' | 'event store unavailable'

/** Many may ask at the same time; one look at the servers answers them all. */
export function createHealth({ pool, store }: Pick<System, 'pool' | 'store'>): () => Promise<Ailment> {
  let looking: Promise<Ailment> | undefined
  return () => {
    looking ??= look().finally(() => {
      looking = undefined
    })
    return looking
  }

  async function look(): Promise<Ailment> {
    const [database, events] = await Promise.all([
      answers(pool.query('select 1')),
      answers(
        (async () => {
          for await (const _ of store.readForward(probe, 0n, 1)) break
        })(),
      ),
    ])
    if (!database) return 'database unavailable'
    return events ? null : 'event store unavailable'
  }
}

async function answers(question: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, patienceMs, false)
  })
  const answered = question.then(
    () => true,
    () => false,
  )
  return Promise.race([answered, tooLate]).finally(() => clearTimeout(timer))
}
