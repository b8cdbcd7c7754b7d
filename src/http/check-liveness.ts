/**
 * POST /v1/check/liveness, read from top to bottom: body → idempotent replay → quota → image → commit → answer.
 * Key and throttle came before, in authenticate.ts.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import type { z } from 'zod'
import { backOffMs } from '../back-off.ts'
import type { Executed } from '../commands/batch.ts'
import { ClientGone } from '../commands/errors.ts'
import { type CustomerState, counters, openMonth, stopsAtLimit } from '../commands/state.ts'
import type { CustomerEvent, Verdict } from '../events/catalogue.ts'
import { EventStoreUnavailable } from '../eventstore/store.ts'
import { decodeBase64 } from '../inference/base64.ts'
import { type Caller, callerOf, type Execute, granted } from './caller.ts'
import type { Dependencies } from './dependencies.ts'
import { ApiError, success } from './envelope.ts'
import { type CheckBody, idempotencyKeysOf, type KeyedExecutor, keyedExecutor } from './idempotency.ts'
import type { HttpMetrics } from './metrics.ts'
import { checkAnswer, checkBody, checkHeaders, type detectionData, errorAnswers } from './schemas.ts'

const NOT_BASE64 = 'image: must be standard Base64, on one line and without "data:…," before it'

/** How long the read of an answer that is given again is repeated. */
const maxRepeatMs = 5_000

type Options = {
  readonly deps: Dependencies
  readonly execute: Execute
  readonly metrics: HttpMetrics
  readonly date: () => string
}

export const checkLiveness: FastifyPluginAsyncZod<Options> = async (app, { deps, execute, metrics, date }) => {
  const { ledgers, inference, clock } = deps

  app.post(
    '/check/liveness',
    {
      schema: {
        summary: 'Judge whether a photograph shows a live face',
        description:
          'A success consumes one call, whatever the verdict and also where isValidFace is false. No error is counted.',
        security: [{ apiKey: [] }],
        headers: checkHeaders,
        body: checkBody,
        response: {
          200: checkAnswer,
          ...errorAnswers(
            'invalid_request',
            'invalid_image',
            'invalid_api_key',
            'quota_exceeded',
            'rate_limited',
            'internal_error',
            'service_unavailable',
          ),
        },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { keyId } = caller
      const { body } = request
      const bytes = decodeBase64(body.image)
      if (bytes === null) throw new ApiError('invalid_request', NOT_BASE64)
      const signal = clientGone(reply)

      const keyed = keyedBy(request.headers['idempotency-key'], caller, body)
      if (keyed === undefined) {
        await refuseUsedUpMonth(request, caller)
      } else {
        const seen = await metrics.time('replay_lookup', () =>
          keyed.executor.run((idempotency) =>
            execute(request, caller, { type: 'Observe', keyId }, { idempotency, signal }),
          ),
        )
        const { kind, state } = granted(seen)
        if (kind === 'replayed') return answer(reply, caller, seen)
        if (isUsedUp(state)) throw quotaExceeded(state)
      }

      const { verdict } = await metrics.time('inference', () => inference.check(bytes, body.image_format, signal))

      const command = {
        type: 'RecordDetection',
        detectionId: randomUUID(),
        keyId,
        verdict,
        modelSet: inference.set.name,
        modelVersion: inference.set.version,
        idempotency: keyed?.key,
      } as const
      const recorded = await metrics.time('commit', () =>
        keyed === undefined
          ? execute(request, caller, command, { signal })
          : keyed.executor.run((idempotency) => execute(request, caller, command, { idempotency, signal })),
      )
      return answer(reply, caller, recorded)
    },
  )

  function keyedBy(header: string | undefined, { customerId }: Caller, body: CheckBody) {
    if (header === undefined) return undefined
    const keys = idempotencyKeysOf(deps.secretsKeys, customerId, header, body)
    const executor: KeyedExecutor = keyedExecutor(deps.idempotencyKeys, customerId, keys)
    return { key: keys[0], executor }
  }

  /** Saves the inference where the month looks used up; only the ledger, at the head of the stream, says that it is. */
  async function refuseUsedUpMonth(request: FastifyRequest, caller: Caller): Promise<void> {
    const known = ledgers.lastKnown(caller.customerId)
    if (known === undefined || !isUsedUp(openMonth(known, clock.now()))) return
    const { state } = granted(await execute(request, caller, { type: 'Observe', keyId: caller.keyId }))
    if (isUsedUp(state)) throw quotaExceeded(state)
  }

  /**
   * The detection that is answered again. Its replay is in the log by now and forbids a later void, so a read that
   * fails once must not make a 503 of a call that stays billed.
   */
  async function repeated(customerId: string, revision: bigint): Promise<CustomerEvent> {
    const giveUpAt = performance.now() + maxRepeatMs
    for (let failures = 1; ; failures++) {
      try {
        return await deps.eventAt(customerId, revision)
      } catch (error) {
        if (!(error instanceof EventStoreUnavailable) || performance.now() >= giveUpAt) throw error
        await pause(backOffMs(failures))
      }
    }
  }

  /** Everything in the answer comes from the log: the verdict from the committed event, the counters from its revision. */
  async function answer(reply: FastifyReply, { customerId }: Caller, executed: Executed) {
    const outcome = granted(executed)
    let detection: CustomerEvent | undefined
    if (outcome.kind === 'replayed') {
      detection = await repeated(customerId, outcome.hit.revision)
      reply.header('idempotent-replayed', 'true')
    } else {
      detection = outcome.events.find(({ type }) => type === 'DetectionSucceeded')
    }
    if (detection?.type !== 'DetectionSucceeded') throw new Error('there is no detection to answer with')
    const stamp = { date: date(), ver: deps.version }
    return success(stamp, customerId, counters(outcome.state), render(detection.data.verdict))
  }
}

/** From the integers of the log to the numbers of the answer, in the order of the contract's table. */
function render(verdict: Verdict): z.output<typeof detectionData> {
  return {
    isFakeFace: verdict.isFakeFace,
    isFakeLikelihood: verdict.likelihoodMillionths / 1_000_000,
    isValidFace: verdict.isValidFace,
    faceBrightness: verdict.brightnessHundredths / 100,
    faceRectArea: verdict.face,
    vFaceRect: verdict.faces,
    msg: verdict.msg,
    latency_ms: verdict.latencyMs,
  }
}

const isUsedUp = (state: CustomerState): boolean => counters(state).remainingCalls === 0 && stopsAtLimit(state)

const quotaExceeded = (state: CustomerState): ApiError =>
  new ApiError('quota_exceeded', `The monthly limit of ${state.terms.monthlyLimit} calls is reached.`, { state })

/** Aborted when the connection closes before the answer is out. A request's own signal fires once its body is read. */
function clientGone(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort(new ClientGone('the client went away'))
  })
  return controller.signal
}
