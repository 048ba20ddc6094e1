(window.GD ||= {}).run = ({ root, box, props }) => { box.textContent = props.label; root.dataset.status = "stub"; };
