/**
 * The wire format as zod schemas: requests are parsed with them, handlers are typed by them, the OpenAPI document is
 * generated from them. Source of every field: api-reference.
 */
import { z } from 'zod'
import { planNames } from '../events/catalogue.ts'
import { type ErrorCode, errorStatus } from './envelope.ts'

/** Source: docs/design.md: 10 MB means this many Base64 characters. */
export const maxImageCharacters = 10 * 1024 * 1024

/**
 * Fields beyond these two are ignored: a client written for a later minor version, which may add fields, keeps working
 * against this one.
 */
export const checkBody = z
  .object(
    {
      image: z
        .string({ error: 'must be a string of Base64' })
        .min(1, 'must not be empty')
        .max(maxImageCharacters, 'must be at most 10 MB of Base64 (10 × 1024 × 1024 characters)')
        .meta({
          description: 'The photograph as standard Base64 on one line, without "data:…," before it, at most 10 MB.',
          examples: ['/9j/4AAQSkZJRg…'],
        }),
      image_format: z
        .enum(['jpeg', 'png'], { error: 'must be "jpeg" or "png"' })
        .meta({ description: 'What the photograph is encoded as; checked against its bytes.' }),
    },
    { error: 'the request body must be a JSON object' },
  )
  .meta({ description: 'The photograph to judge.' })

export const checkHeaders = z.looseObject({
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, 'must be 1 to 255 visible ASCII characters')
    .optional()
    .meta({
      description:
        'Makes a retry safe: for 24 hours the same key with the same photograph gives the first result again, ' +
        'unbilled, and with another photograph is refused.',
    }),
})

const whole = z.int().min(0)
const rectangle = z.object({ x: whole, y: whole, width: whole, height: whole })

const stamp = {
  date: z.iso.datetime({ precision: 3 }).meta({ description: 'When this answer was made, UTC.' }),
  ver: z.string().meta({ description: 'Version of the API, semantic.', examples: ['1.0.1'] }),
}

const successMetadata = z.object({
  ...stamp,
  customer_id: z.uuid(),
  remaining_calls: whole.meta({ description: 'Credits left in this UTC month, never below 0.' }),
  over_limit_calls: whole.meta({
    description: 'Overage calls of this UTC month; 0 on the free plan and with the hard cap ON.',
  }),
  status: z.literal('success'),
})

export const detectionData = z.object({
  isFakeFace: z.boolean().meta({ description: 'true: suspected photo or spoofing.' }),
  isFakeLikelihood: z.number().min(0).max(1).meta({ description: 'Likelihood of spoofing.' }),
  isValidFace: z.boolean().meta({
    description: 'Whether the face can be judged well; if not, msg says why. The call is counted all the same.',
  }),
  faceBrightness: z.number().min(0).max(255).meta({ description: 'Average brightness of the face region.' }),
  faceRectArea: rectangle.meta({ description: 'The face that was judged, in pixels of the upright photograph.' }),
  vFaceRect: z.array(rectangle).meta({ description: 'Every face that was found.' }),
  msg: z.string(),
  latency_ms: whole.meta({ description: 'Time of the inference, in milliseconds.' }),
})

const usageData = z.object({
  year_month: z.string().regex(/^\d{4}-\d{2}$/),
  total_calls: whole,
  monthly_limit: whole,
  remaining_calls: whole,
  over_limit_calls: whole,
  plan: z.enum(planNames),
  hard_cap_enabled: z.boolean(),
})

/** Headers of answers, in the form in which @fastify/swagger looks for them beside a response's schema. */
const everyHeader = {
  'X-Request-Id': {
    type: 'string',
    description:
      'Names this request in our log; of your own choosing where you sent one (1 to 128 of A–Z a–z 0–9 _ . : -).',
  },
}
const retryHeader = { 'Retry-After': { type: 'integer', description: 'Seconds after which to try again.' } }
const replayHeader = {
  'Idempotent-Replayed': {
    type: 'string',
    enum: ['true'],
    description: 'There where the Idempotency-Key was used before: the first result again, not counted again.',
  },
}

const exampleStamp = { date: '2026-05-04T12:34:56.789Z', ver: '1.0.0' }
const exampleCustomer = '0b8f6f0e-6f0c-4a51-9d7e-52c3f0a3f1de'

function successOf<T extends z.ZodType>(data: T, description: string, example: z.output<T>, more: object = {}) {
  const metadata = { ...exampleStamp, customer_id: exampleCustomer, remaining_calls: 3_850, over_limit_calls: 0 }
  return z.object({ metadata: successMetadata, data }).meta({
    description,
    headers: { ...everyHeader, ...more },
    examples: [{ metadata: { ...metadata, status: 'success' }, data: example }],
  })
}

const exampleVerdict = {
  isFakeFace: false,
  isFakeLikelihood: 0.012345,
  isValidFace: true,
  faceBrightness: 142.3,
  faceRectArea: { x: 120, y: 80, width: 200, height: 200 },
  vFaceRect: [{ x: 120, y: 80, width: 200, height: 200 }],
  msg: '',
  latency_ms: 120,
}
export const checkAnswer = successOf(
  detectionData,
  'The verdict. This call was counted, once.',
  exampleVerdict,
  replayHeader,
)

export const usageAnswer = successOf(usageData, 'The figures of the current UTC month.', {
  year_month: '2026-05',
  total_calls: 1_150,
  monthly_limit: 5_000,
  remaining_calls: 3_850,
  over_limit_calls: 0,
  plan: 'standard',
  hard_cap_enabled: false,
})

export const healthy = z
  .object({ status: z.literal('ok') })
  .meta({ description: 'Everything this service needs answers.', headers: everyHeader })
export const unhealthy = z.object({ status: z.literal('error'), message: z.string() }).meta({
  description: 'Something it needs does not.',
  headers: everyHeader,
  examples: [{ status: 'error', message: 'database unavailable' }],
})

export const readiness = z.object({
  ready: z.boolean(),
  reasons: z.array(z.string()).meta({ description: 'Why not; empty when ready.' }),
  roles: z.array(z.string()),
  model_set: z.object({ name: z.string(), version: z.string() }).nullable(),
  clock_offset_ms: z.number().nullable(),
  read_models_lag_ms: z.number().nullable(),
  lag: z.record(z.string(), z.number().nullable()),
  inference_queue_depth: whole.nullable(),
})

/** Code → what it means and a message as customers see it. */
const errorDocs: Readonly<Record<ErrorCode, readonly [meaning: string, message: string]>> = {
  invalid_request: ['The request is not as documented.', 'image: must be a string of Base64'],
  invalid_image: [
    'The photograph cannot be decoded, or shows no face.',
    'No face was detected: send the picture the right way up, with the whole face in it.',
  ],
  invalid_api_key: ['The key does not open this door.', 'The API key is missing, unknown, deactivated or expired.'],
  forbidden: ['The credentials could not be verified.', 'You are not allowed to do this.'],
  not_found: ['No such thing here.', 'There is nothing at this address.'],
  quota_exceeded: [
    'The credits of the month are used up, and calls stop there (free plan, hard cap ON, or an ended subscription).',
    'The monthly limit of 5000 calls is reached.',
  ],
  rate_limited: ['Faster than fair use allows; see Retry-After.', 'Too many requests a second with this API key.'],
  internal_error: ['Our fault. Not counted.', 'Something went wrong on our side.'],
  service_unavailable: [
    'Cannot be answered just now; see Retry-After. Not counted.',
    'The service is temporarily unavailable. Try again in a moment.',
  ],
}

const errorMetadata = z.object({
  ...stamp,
  customer_id: z.uuid().nullable().meta({ description: 'null when authentication failed.' }),
  remaining_calls: whole.nullable(),
  over_limit_calls: whole.nullable(),
  status: z.literal('error'),
})

/** Any error answer. Those of a route are the same with the codes it can give. */
export const errorAnswer = z.object({
  metadata: errorMetadata,
  error: z.object({ code: z.enum(Object.keys(errorStatus) as [ErrorCode, ...ErrorCode[]]), message: z.string() }),
})

/** Response schemas of a route's errors, by status, with one example for each code. */
export function errorAnswers(...codes: readonly ErrorCode[]): Record<number, z.ZodType> {
  const statuses = new Set(codes.map((code) => errorStatus[code]))
  return Object.fromEntries(
    [...statuses].map((status) => {
      const same = codes.filter((code) => errorStatus[code] === status)
      const unknownCaller = status === 401 || status === 404
      const metadataOf = (code: ErrorCode) => ({
        ...exampleStamp,
        customer_id: unknownCaller ? null : exampleCustomer,
        remaining_calls: unknownCaller ? null : code === 'quota_exceeded' ? 0 : 3_850,
        over_limit_calls: unknownCaller ? null : 0,
        status: 'error',
      })
      const { error } = errorAnswer.shape
      const schema = errorAnswer
        .extend({ error: error.extend({ code: z.enum(same as [ErrorCode, ...ErrorCode[]]) }) })
        .meta({
          headers: { ...everyHeader, ...(status === 429 || status === 503 ? retryHeader : {}) },
          description: same.map((code) => `\`${code}\`: ${errorDocs[code][0]}`).join('  \n'),
          examples: same.map((code) => ({ metadata: metadataOf(code), error: { code, message: errorDocs[code][1] } })),
        })
      return [status, schema]
    }),
  )
}
