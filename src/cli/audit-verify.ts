/** `audit verify` and `audit reconcile`: what an auditor runs beside the running system. */
import { rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import type { Anchor } from '../audit/anchor.ts'
import { type BadAnchor, newestAnchor, readAnchor } from '../audit/anchor-files.ts'
import { yearMonthSchema } from '../audit/bundle.ts'
import { verify } from '../audit/verify.ts'
import { Interrupted } from '../audit/verify-pass.ts'
import { keepState, loadState, missingHead, type VerifyState } from '../audit/verify-resume.ts'
import { addReconcileCommand } from './audit-reconcile.ts'
import { auditSettings, readPublicKeys, repeated, severalKeys } from './audit-settings.ts'
import { printVerifyReport } from './audit-verify-report.ts'
import { argument, CommandError, customerIdArgument } from './output.ts'
import { withSystem } from './system.ts'

const month = argument(yearMonthSchema, 'a month as YYYY-MM')

interface VerifyCommand {
  readonly customer?: string
  readonly month?: string
  readonly anchor?: string[]
  readonly publicKey?: string[]
  readonly streams: boolean
  readonly state?: string
  readonly fromStart?: true
  readonly json?: true
}

export function addAuditVerifyCommands(audit: Command): void {
  audit
    .command('verify')
    .description('hold the log, the read models, metering and its answers against each other, and against anchors')
    .option('--customer <id>', "only this customer's streams and rows", customerIdArgument)
    .option('--month <YYYY-MM>', 'only the books and rows of this UTC month', month)
    .option('--anchor <file...>', 'anchors that you kept; the newest in ANCHOR_DIR is looked at as well')
    .option('--public-key <file>', `PEM, in place of this installation's; ${severalKeys}`, repeated)
    .option('--no-streams', 'half the reading: an index of the event store that was tampered with is not seen then')
    .option('--state <file>', 'where its place is kept when it is interrupted; default: in DATA_DIR')
    .option('--from-start', 'begin anew, whatever place was kept')
    .option('--json', 'one JSON object')
    .action((options: VerifyCommand) => runVerify(options))

  addReconcileCommand(audit)
}

const runVerify = (options: VerifyCommand): Promise<void> =>
  withSystem(async ({ store, pool }) => {
    const { dataDir } = await auditSettings()
    const { anchors, badAnchors } = await anchorsFor(options)
    const whole = options.customer === undefined
    const path = options.state === undefined ? join(dataDir, 'audit-verify.state') : resolve(options.state)
    // A place kept for one question does not answer another.
    const question = JSON.stringify([
      options.month ?? '',
      anchors.map(({ through, root }) => [through, root]),
      badAnchors.map(({ path }) => path),
    ])
    const from = whole && options.fromStart !== true ? await keptPlace(store, path, question) : undefined
    const stop = new AbortController()
    const onSignal = () => stop.abort()
    process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
    const bar = progressBar()
    try {
      const report = await verify({
        store,
        pool,
        anchors,
        badAnchors,
        customerId: options.customer,
        month: options.month,
        streams: options.streams,
        from,
        signal: stop.signal,
        onEvent: bar.onEvent,
        ...(whole ? { keep: (state: VerifyState) => keepState(path, question, state) } : {}),
      })
      bar.stop()
      if (whole) await rm(path, { force: true })
      const isEmpty = report.events === 0 && report.differences.length === 0
      if (!whole && isEmpty) throw new CommandError(`Customer ${options.customer} is unknown.`)
      printVerifyReport(report, options.json)
      // A month that was mistyped must not look like one in order.
      if (options.month !== undefined && report.months === 0) {
        throw new CommandError(`The log has nothing of ${options.month}.`)
      }
    } catch (error) {
      bar.stop()
      if (!(error instanceof Interrupted)) throw error
      throw new CommandError(
        whole ? `Interrupted. The same command goes on from here; its place is kept in ${path}.` : 'Interrupted.',
      )
    } finally {
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
    }
  })

/**
 * Those given, which must be good, and the newest in ANCHOR_DIR; what lies before it there and is none is found. Where
 * keys are given this installation's does not count by itself: it may be the one that was stolen.
 */
async function anchorsFor({
  anchor = [],
  publicKey = [],
}: VerifyCommand): Promise<{ anchors: Anchor[]; badAnchors: BadAnchor[] }> {
  const { publicKeys: own, dir } = await auditSettings()
  const keys = publicKey.length === 0 ? own : await readPublicKeys(publicKey)
  const given = await Promise.all(anchor.map((path) => readAnchor(path, keys)))
  const badAnchors: BadAnchor[] = []
  const newest = await newestAnchor(dir, keys, (error) => badAnchors.push(error))
  const isGiven = newest === null || given.some(({ root }) => root === newest.root)
  return { anchors: isGiven ? given : [...given, newest], badAnchors }
}

async function keptPlace(
  store: Parameters<typeof missingHead>[0],
  path: string,
  question: string,
): Promise<VerifyState | undefined> {
  const state = await loadState(path, question)
  if (state === null) return undefined
  const missing = await missingHead(store, state)
  if (missing === null) {
    process.stderr.write(`Going on behind the ${state.memory.events} events of an interrupted run.\n`)
    return state
  }
  process.stderr.write(`${missing} is no longer what the interrupted run read: beginning anew.\n`)
  return undefined
}

/** On a terminal only. */
function progressBar() {
  const bar = new SingleBar({
    format: '{events} events [{bar}] {percentage}%, {speed} a second',
    clearOnComplete: true,
  })
  const startedAt = performance.now()
  let begunWith: number | undefined
  let shownAt = startedAt
  let isShown = false
  return {
    onEvent(events: number, share: number | null): void {
      begunWith ??= events - 1
      if (events % 256 !== 0 || performance.now() - shownAt < 200 || !process.stderr.isTTY) return
      shownAt = performance.now()
      const speed = Math.round(((events - begunWith) * 1_000) / (shownAt - startedAt))
      if (!isShown) bar.start(100, 0, { events, speed })
      isShown = true
      // Without a known end the bar stays empty.
      bar.update(Math.floor((share ?? 0) * 100), { events, speed })
    },
    stop(): void {
      if (isShown) bar.stop()
      isShown = false
    },
  }
}
