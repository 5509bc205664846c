"""Search of the training settings of forecasting networks."""
