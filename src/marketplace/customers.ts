import type pg from 'pg'

/**
 * Active customers whose current licence, or legacy product, AWS granted to the account, the first registered first. A
 * legacy customer who is known by AWS's customer identifier alone is found by nobody but an operator.
 */
export async function customersOfAccount(pool: pg.Pool, awsAccountId: string): Promise<string[]> {
  const { rows } = await pool.query<{ customer_id: string }>(
    `select customer_id from readmodel.customers
     where licence->>'awsAccountId' = $1 and not deactivated
     order by registered_at, customer_id`,
    [awsAccountId],
  )
  return rows.map((row) => row.customer_id)
}
