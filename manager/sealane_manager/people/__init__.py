"""Who a person or a program is, and what each may do."""
