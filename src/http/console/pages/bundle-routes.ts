/** /console/usage/{month}/bundle: the month as a signed file, with which a customer checks the bill on their own. */
import type { FastifyInstance } from 'fastify'
import { NotAnchoredYet } from '../../../audit/choose-anchors.ts'
import { NothingToExport } from '../../../audit/export.ts'
import { monthText } from '../../../format.ts'
import { ApiError, errorStatus } from '../../envelope.ts'
import { endingOf, logEnding } from '../../errors.ts'
import { requireSession, signedInOf, wantsJson } from '../context.ts'
import { BundleNotYetPage, bundleNotYet } from './bundle.tsx'
import type { ConsolePagesDependencies } from './dependencies.ts'
import type { Desk } from './desk.ts'
import { monthIn } from './statement-routes.ts'

/** Bundles at once. Each is a process of its own; of a customer one at a time, so that nobody keeps all others out. */
const maxBundles = 4

export function registerBundles(app: FastifyInstance, deps: ConsolePagesDependencies, desk: Desk): void {
  const underWay = new Set<string>()

  app.get('/console/usage/:month/bundle', { preHandler: requireSession }, async (request, reply) => {
    const { customerId } = signedInOf(request)
    const month = monthIn(request, deps.clock.now())
    if (underWay.size >= maxBundles || underWay.has(customerId)) {
      throw new ApiError('service_unavailable', 'A bundle is being made already. Try again when it is done.')
    }
    underWay.add(customerId)
    const leave = () => underWay.delete(customerId)
    try {
      const bundle = await deps.bundle(customerId, month)
      bundle.once('close', leave).once('error', (error) => {
        logEnding(request.log, endingOf(error, deps.isUnavailable), error, 'a bundle broke off')
      })
      return reply
        .type('application/x-ndjson')
        .header('content-disposition', `attachment; filename="liveness-${month}-${customerId}.ndjson"`)
        .send(bundle)
    } catch (error) {
      leave()
      if (error instanceof NothingToExport) {
        const message = `There is no bundle of ${monthText(month)}: the log has no event of yours in that month.`
        throw new ApiError('not_found', message, { cause: error })
      }
      if (!(error instanceof NotAnchoredYet)) throw error
      const now = deps.clock.now()
      if (wantsJson(request)) throw new ApiError('not_found', bundleNotYet(month, now), { cause: error })
      const page = BundleNotYetPage({ frame: desk.frame(request, reply), month, now })
      return desk.show(reply, page, errorStatus.not_found)
    }
  })
}
