/** Statements: as a page, and every event of the month as CSV. Both read the log, so both are bounded in number. */
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { monthOf } from '../../../commands/plans.ts'
import { monthText } from '../../../format.ts'
import { ApiError } from '../../envelope.ts'
import { endingOf, logEnding } from '../../errors.ts'
import { requireSession, signedInOf } from '../context.ts'
import type { ConsolePagesDependencies } from './dependencies.ts'
import type { Desk } from './desk.ts'
import { StatementPage } from './statement.tsx'
import { csvLines } from './statement-csv.ts'

/** Readers of the log at once, each of whom may take a tenth of a core. */
const maxReaders = 4

export function registerStatements(app: FastifyInstance, deps: ConsolePagesDependencies, desk: Desk): void {
  let readers = 0

  /** @throws ApiError service_unavailable when too many read already */
  function takeTurn(): () => void {
    if (readers >= maxReaders) {
      throw new ApiError('service_unavailable', 'Several statements are being made. Try again in a moment.')
    }
    readers += 1
    return () => {
      readers -= 1
    }
  }

  app.get('/console/usage/:month/statement', { preHandler: requireSession }, async (request, reply) => {
    const { customerId, accountId, email } = signedInOf(request)
    const month = monthIn(request, deps.clock.now())
    const leave = takeTurn()
    const statement = await deps.reads.statement(customerId, month).finally(leave)
    if (statement === null) throw noStatement(month)
    const frame = desk.frame(request, reply)
    return desk.show(reply, StatementPage({ frame, statement, email, accountId, now: deps.clock.now() }))
  })

  app.get('/console/usage/:month/statement.csv', { preHandler: requireSession }, async (request, reply) => {
    const { customerId } = signedInOf(request)
    const month = monthIn(request, deps.clock.now())
    const leave = takeTurn()
    let events: Awaited<ReturnType<typeof deps.reads.statementEvents>>
    try {
      events = await deps.reads.statementEvents(customerId, month)
      if (events === null) throw noStatement(month)
    } catch (error) {
      leave()
      throw error
    }
    const file = Readable.from(csvLines(events)).once('close', leave)
    file.once('error', (error) => {
      logEnding(request.log, endingOf(error, deps.isUnavailable), error, 'a statement broke off')
    })
    return reply
      .type('text/csv; charset=utf-8')
      .header('content-disposition', `attachment; filename="statement-${month}.csv"`)
      .send(file)
  })
}

const noStatement = (month: string) =>
  new ApiError(
    'not_found',
    `There is no statement of ${monthText(month)}: the log has no event of yours in that month.`,
  )

/** A month that has begun at `now`, ISO 8601 UTC. @throws ApiError not_found */
export function monthIn({ params }: FastifyRequest, now: string): string {
  const { month } = params as { month: string }
  if (!/^[1-9]\d{3}-(0[1-9]|1[0-2])$/.test(month)) throw new ApiError('not_found', 'There is no such month.')
  if (month > monthOf(now)) throw new ApiError('not_found', 'That month has not begun.')
  return month
}
