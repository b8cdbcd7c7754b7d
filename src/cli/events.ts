import type { Command } from 'commander'
import { customerStream } from '../events/catalogue.ts'
import type { StoredEvent } from '../eventstore/store.ts'
import { customerIdArgument, print, printJson } from './output.ts'
import { withSystem } from './system.ts'
import { noSuchCustomer } from './views.ts'

/** An event as `--json` prints it, one a line. */
const eventView = ({ type, revision, created, data, metadata }: StoredEvent) => ({
  type,
  revision: Number(revision),
  created: created.toISOString(),
  data,
  metadata,
})

export function addEventsCommand(program: Command): void {
  program
    .command('events')
    .description("a customer's stream as it is stored, from its first event to its last")
    .argument('<customer-id>', '', customerIdArgument)
    .option('--json', 'one JSON object a line')
    .action((id: string, { json }: { json?: true }) =>
      withSystem(async ({ store }) => {
        let count = 0
        for await (const event of store.readForward(customerStream(id), 0n)) {
          count += 1
          if (json) printJson(eventView(event))
          else printEvent(event)
        }
        if (count === 0) throw noSuchCustomer(id)
      }),
    )
}

export function printEvent(event: StoredEvent): void {
  print(`${event.revision}  ${event.created.toISOString()}  ${event.type}`)
  // customerId and occurredAt are in every event, the stream's name and the line above say the same.
  const { customerId: _, occurredAt: __, ...data } = event.data as Record<string, unknown>
  for (const [name, value] of Object.entries(data)) {
    print(`      ${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
  }
}
