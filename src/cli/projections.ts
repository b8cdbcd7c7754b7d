import type { Command } from 'commander'
import { rebuild } from '../projections/rebuild.ts'
import { eventsBehind, projectionStatus } from '../readmodels/status.ts'
import { print, printJson, printTable } from './output.ts'
import { withSystem } from './system.ts'

export function addProjectionCommands(program: Command): void {
  const projections = program.command('projections').description('the read models, folded from the log')

  projections
    .command('status')
    .description('generations of the read models, and how far each is behind the log')
    .option('--json', 'one JSON object a line')
    .action(({ json }: { json?: true }) =>
      withSystem(async ({ pool, store }) => {
        const signal = new AbortController().signal
        const rows = []
        for (const { checkpoint, ...status } of await projectionStatus(pool)) {
          const behind = await eventsBehind(store, checkpoint, { signal })
          rows.push({
            generation: status.generation,
            state: status.state,
            versions: status.versions,
            compared_with_program: status.comparedWithProgram,
            last_event_at: status.lastEventAt,
            events_behind: behind,
          })
        }
        if (json) return rows.forEach(printJson)
        printTable(
          ['GENERATION', 'STATE', 'VERSIONS', 'LAST EVENT', 'EVENTS BEHIND'],
          rows.map(({ generation, state, compared_with_program, last_event_at, events_behind }) => [
            generation,
            state,
            compared_with_program,
            last_event_at ?? 'none',
            events_behind,
          ]),
        )
      }),
    )

  projections
    .command('rebuild')
    .description('replay the log into new read models beside the live ones, then swap; reads go on meanwhile')
    .option('--accept-older-log', 'go live though the log ends earlier: after a restore of an older event store')
    .option('--json', 'one JSON object')
    .action(({ json, acceptOlderLog }: { json?: true; acceptOlderLog?: true }) =>
      withSystem(async ({ pool, store, databaseUrl: url }) => {
        const stop = new AbortController()
        const onSignal = () => stop.abort(new Error('The rebuild was stopped; the live read models are untouched.'))
        process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
        const started = performance.now()
        let shownAt = started
        const onProgress = ({ events }: { events: number }) => {
          if (performance.now() - shownAt < 2_000) return
          shownAt = performance.now()
          process.stderr.write(`${events} events replayed\n`)
        }
        try {
          const { generation, events } = await rebuild({
            pool,
            url,
            store,
            signal: stop.signal,
            onProgress,
            acceptOlderLog: acceptOlderLog === true,
          })
          const seconds = (performance.now() - started) / 1_000
          if (json) return printJson({ generation, events, seconds: Number(seconds.toFixed(3)) })
          print(`${events} events replayed in ${seconds.toFixed(1)} s; generation ${generation} is live.`)
        } finally {
          process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
        }
      }),
    )
}
