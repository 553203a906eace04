"""The forecasting office: cycles, the ledger of forecasts and outcomes, and what is published of them."""
