import type pg from 'pg'

/** Active customers whose current licence AWS granted to the account, the first registered first. */
export async function customersOfAccount(pool: pg.Pool, awsAccountId: string): Promise<string[]> {
  const { rows } = await pool.query<{ customer_id: string }>(
    `select customer_id from readmodel.customers
     where licence->>'kind' = 'licence' and licence->>'awsAccountId' = $1 and not deactivated
     order by registered_at, customer_id`,
    [awsAccountId],
  )
  return rows.map((row) => row.customer_id)
}
