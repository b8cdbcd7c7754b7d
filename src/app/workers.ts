/** What a process does unasked: read models, housekeeping, anchors, relay and metering, as far as its roles say. */
import { roleLog } from '../http/logging.ts'
import type { MarketplaceDeps } from '../marketplace/settle.ts'
import { type Runner, startProjections } from '../projections/runner.ts'
import { startAnchors } from './anchors.ts'
import { publicUrlOf } from './console.ts'
import type { Foundation, Start } from './foundation.ts'
import { startLeaders } from './leaders.ts'
import { openMarketplace } from './marketplace.ts'
import { type MeteringRoles, startMeteringRoles } from './metering.ts'

export interface Workers {
  /** Undefined without the role projections. */
  readonly runner: Runner | undefined
  readonly metering: MeteringRoles
  readonly marketplace: MarketplaceDeps
}

/** @throws ConfigError */
export async function startWorkers(start: Start, { system, mail, auditSigningKey }: Foundation): Promise<Workers> {
  const { config, roles, undo, failures } = start
  const logOf = (role: string) => roleLog(start.log, role)

  const runner = roles.includes('projections')
    ? startProjections({
        pool: system.pool,
        url: system.databaseUrl,
        store: system.store,
        onAlarm: (error) => failures.roleStopped('projections', error),
        onTrouble: (error, count) =>
          logOf('projections').warn({ err: error, failures: count }, 'the projections are held up'),
      })
    : undefined
  if (runner !== undefined) undo.add('projections', () => runner.stop())
  undo.add('ledgers', () => system.ledgers.drained())

  const leaders = startLeaders({ system, mail, publicUrl: publicUrlOf(config), log: logOf('housekeeping') })
  undo.add('leaders', () => leaders.stop())
  if (roles.includes('metering')) {
    const anchors = startAnchors(config, system, auditSigningKey, logOf('metering'))
    undo.add('anchors', () => anchors.stop())
  }
  const marketplace = openMarketplace(system, roleLog(start.log, roles))
  const onStopped = failures.roleStopped
  const metering = await startMeteringRoles({ config, roles, system, marketplace, log: start.log, onStopped })
  undo.add('metering', () => metering.stop())
  return { runner, metering, marketplace }
}
