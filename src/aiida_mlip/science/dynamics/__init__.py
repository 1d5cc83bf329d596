"""What molecular dynamics needs besides an integrator: schedules, observables, stop rules and time series."""
