/** What happened, when and by whom, from the log. */
import { type Html, Page, type PageProps } from '../layout.tsx'
import type { Occurrence } from './dependencies.ts'
import { actorText, eventText } from './events.ts'
import { Block, Time } from './pieces.tsx'

/** Each line opens to where it stands in the log. */
export function ActivityList(props: { readonly entries: readonly Occurrence[]; readonly accountId: string }): Html {
  return (
    <ul class="activity">
      {props.entries.map(({ event, actor, revision, eventId }) => (
        <li>
          <details>
            <summary>
              <span class="what" safe>
                {eventText(event)}
              </span>
              <span class="when">
                <Time at={event.data.occurredAt} />, by <span safe>{actorText(actor, props.accountId)}</span>
              </span>
            </summary>
            <dl class="facts">
              <div>
                <dt>Event</dt>
                <dd>
                  <code safe>{event.type}</code>
                </dd>
              </div>
              <div>
                <dt>Event id</dt>
                <dd>
                  <code safe>{eventId}</code>
                </dd>
              </div>
              <div>
                <dt>Revision</dt>
                <dd>
                  <code>{String(revision)}</code>
                </dd>
              </div>
              <div>
                <dt>Actor</dt>
                <dd>
                  <code safe>{actor}</code>
                </dd>
              </div>
            </dl>
          </details>
        </li>
      ))}
    </ul>
  )
}

/** @param props.older revision before which the next page begins, where there is one */
export function ActivityPage(props: {
  readonly frame: Omit<PageProps, 'title' | 'place'>
  readonly entries: readonly Occurrence[]
  readonly accountId: string
  readonly older: bigint | null
}): Html {
  return (
    <Page {...props.frame} title="Activity" place="overview">
      <h1>Activity</h1>
      <Block title="From the log, the newest first">
        <p class="hint">Calls are not listed here. They are in the statement of their month.</p>
        {props.entries.length === 0 ? (
          <p>Nothing older.</p>
        ) : (
          <ActivityList entries={props.entries} accountId={props.accountId} />
        )}
        {props.older === null ? (
          ''
        ) : (
          <p>
            <a href={`/console/activity?before=${props.older}`}>Show older activity</a>
          </p>
        )}
      </Block>
    </Page>
  )
}
