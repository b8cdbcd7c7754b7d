/** What each identity route begins and ends with: the form's fields, the frame, the answer, the words of a refusal. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { ApiError } from '../../envelope.ts'
import { type ConsoleDependencies, csrfToken, takeFlash, wantsJson } from '../context.ts'
import type { Html, PageProps } from '../layout.tsx'

/** What goes around a page, and the token of its forms. */
export type Frame = Omit<PageProps, 'title' | 'place'> & { readonly csrf: string }

/** What is wrong with a field, by the field's name; `form` is for what no single field is to blame for. */
export type Faults = Readonly<Record<string, string | undefined>>

export function createDesk({ version }: Pick<ConsoleDependencies, 'version'>) {
  return {
    frame(request: FastifyRequest, reply: FastifyReply): Frame {
      const session = request.visit?.session ?? null
      const frame = { csrf: csrfToken(request), notice: takeFlash(request, reply), version }
      return session?.stage === 'full'
        ? { ...frame, signedIn: { email: session.email } }
        : { ...frame, width: 'narrow' }
    },
    async show(reply: FastifyReply, page: Html, status = 200): Promise<FastifyReply> {
      return reply
        .code(status)
        .type('text/html; charset=utf-8')
        .send(await page)
    },
  }
}
export type Desk = ReturnType<typeof createDesk>

/** The form's fields by name; absent ones are empty, and so are those with U+0000, which Postgres cannot hold. */
export function fieldsOf<N extends string>({ body }: FastifyRequest, ...names: N[]): Record<N, string> {
  const sent: Readonly<Record<string, unknown>> = typeof body === 'object' && body !== null ? { ...body } : {}
  const text = (name: N) => {
    const value = sent[name]
    return typeof value === 'string' && !value.includes('\0') ? value : ''
  }
  return Object.fromEntries(names.map((name) => [name, text(name)])) as Record<N, string>
}

export function paramOf({ params }: FastifyRequest, name: string): string {
  const value = (params as Readonly<Record<string, unknown>>)[name]
  return typeof value === 'string' ? value : ''
}

/** RFC 5321 allows no longer one. */
const maxEmailCharacters = 254
const emailSchema = z.string().trim().max(maxEmailCharacters).pipe(z.email())

/** A well-formed address, or null. */
export const emailOf = (typed: string): string | null => emailSchema.safeParse(typed).data ?? null

/** How long to wait, in words. */
function waitText(seconds: number): string {
  const minutes = Math.ceil(seconds / 60)
  if (minutes <= 1) return 'Try again in a minute.'
  return minutes < 90 ? `Try again in ${minutes} minutes.` : `Try again in ${Math.ceil(minutes / 60)} hours.`
}

type Refusal = { readonly kind: 'wrong' } | { readonly kind: 'locked'; readonly retryAfterSeconds: number }

/**
 * The status and the sentence of a refused proof; `message` says what was wrong. Sets Retry-After where one must wait.
 * @throws ApiError to a client that asked for JSON
 */
export function refusal(request: FastifyRequest, reply: FastifyReply, refused: Refusal, message: string) {
  if (refused.kind === 'wrong') {
    if (wantsJson(request)) throw new ApiError('forbidden', message)
    request.errorCode = 'forbidden'
    return { status: 403, message }
  }
  const { retryAfterSeconds } = refused
  const locked = `Too many attempts failed. ${waitText(retryAfterSeconds)}`
  if (wantsJson(request)) throw new ApiError('rate_limited', locked, { retryAfterSeconds })
  request.errorCode = 'rate_limited'
  reply.header('retry-after', String(retryAfterSeconds))
  return { status: 429, message: locked }
}

/** What is wrong with a form. @throws ApiError to a client that asked for JSON */
export function invalid(request: FastifyRequest, faults: Faults): 400 {
  const [message = 'The form is not complete.'] = Object.values(faults).filter((fault) => fault !== undefined)
  if (wantsJson(request)) throw new ApiError('invalid_request', message)
  request.errorCode = 'invalid_request'
  return 400
}
