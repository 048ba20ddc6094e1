(window.GD ||= {}).heads = ({ root, box, props }) => { box.textContent = props.label; root.dataset.status = "stub"; };
