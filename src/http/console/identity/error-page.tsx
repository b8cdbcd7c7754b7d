/** An error as a page: what happened, and where to go from here. */
import type { FastifyRequest } from 'fastify'
import type { ApiError, ErrorCode } from '../../envelope.ts'
import { type Html, Page } from '../layout.tsx'

const titles: Partial<Record<ErrorCode, string>> = {
  forbidden: 'That was refused',
  not_found: 'There is nothing here',
  rate_limited: 'Too many attempts',
  service_unavailable: 'Not available at the moment',
  internal_error: 'Something went wrong on our side',
}

export function ErrorPage(props: {
  readonly error: ApiError
  readonly request: FastifyRequest
  readonly version: string
}): Html {
  const { error, request, version } = props
  const { visit } = request
  const signedIn = visit?.session?.stage === 'full' ? { email: visit.session.email } : undefined
  const title = titles[error.code] ?? 'That did not work'
  return (
    <Page title={title} signedIn={signedIn} csrf={visit?.csrf} version={version} width="narrow">
      <h1 safe>{title}</h1>
      <p safe>{error.message}</p>
      <p>
        {signedIn === undefined ? (
          <a class="button" href="/console/sign-in">
            Go to sign-in
          </a>
        ) : (
          <a class="button" href="/console/dashboard">
            Go to the overview
          </a>
        )}
      </p>
      <p class="hint">
        If you report this, name the request <code safe>{request.id}</code>.
      </p>
    </Page>
  )
}
