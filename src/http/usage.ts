/** GET /v1/usage: the current UTC month from the read model, never older than the head of the customer's stream. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { callerOf, type Execute, granted } from './caller.ts'
import type { Dependencies } from './dependencies.ts'
import { success } from './envelope.ts'
import { errorAnswers, usageAnswer } from './schemas.ts'

type Options = {
  readonly deps: Pick<Dependencies, 'usage' | 'version'>
  readonly execute: Execute
  readonly date: () => string
}

export const usage: FastifyPluginAsyncZod<Options> = async (app, { deps, execute, date }) => {
  app.get(
    '/usage',
    {
      schema: {
        summary: 'The current UTC month in figures',
        description: 'Free. A check that was answered before this request is already counted.',
        security: [{ apiKey: [] }],
        response: {
          200: usageAnswer,
          ...errorAnswers('invalid_api_key', 'rate_limited', 'internal_error', 'service_unavailable'),
        },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      // The head of the stream is what the customer may have caused or seen; the month is that of the stream's clock.
      const observed = granted(await execute(request, caller, { type: 'Observe', keyId: caller.keyId }))
      const month = await deps.usage.atRevision(caller.customerId, observed.revision, observed.state.yearMonth)
      return success({ date: date(), ver: deps.version }, caller.customerId, month, {
        year_month: month.yearMonth,
        total_calls: month.totalCalls,
        monthly_limit: month.monthlyLimit,
        remaining_calls: month.remainingCalls,
        over_limit_calls: month.overLimitCalls,
        plan: month.plan,
        hard_cap_enabled: month.hardCapEnabled,
      })
    },
  )
}
