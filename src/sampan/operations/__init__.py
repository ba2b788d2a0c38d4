"""What people type beside the workflow: look before, watch, mend, measure."""
