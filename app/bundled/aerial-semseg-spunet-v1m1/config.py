weight = None
seed = 20
model = dict(
    type='DefaultSegmentor',
    backbone=dict(
        type='SpUNet-v1m1',
        in_channels=21,
        num_classes=6,
        base_channels=16,
        channels=(24, 32, 48, 64, 80, 80, 64, 48, 32, 24),
        layers=(1, 1, 1, 2, 2, 1, 1, 1, 1, 1)),
    criteria=[dict(type='CrossEntropyLoss', loss_weight=1.0, ignore_index=-1)])
dataset_type = 'AerialDataset'
data = dict(
    num_classes=6,
    ignore_index=-1,
    names=['ground', 'low vegetation', 'medium and high vegetation', 'building', 'wire', 'noise'],
    colors=[(170, 121, 66), (154, 205, 50), (34, 139, 34), (214, 69, 65), (255, 215, 0), (128, 128, 128)],
    asprs=[2, 3, 5, 6, 14, 7],
    vegetation_heights=(0.5, 2.0),
    test=dict(
        type='AerialDataset',
        split='val',
        transform=[
            dict(
                type='DropNoiseBelow',
                support_cell_m=(8.0, 0.5),
                least_support=0.45,
                cell_m=2.0,
                radius_m=12.0,
                depth_m=1.1),
            dict(type='CenterShift', apply_z=True),
            dict(type='Returns'),
            dict(type='Support', cell_m=(8.0, 0.5)),
            dict(
                type='HeightAboveLowest',
                cell_m=2.0,
                radii_m=(10.0, 40.0),
                scale_m=10.0,
                clip_m=50.0,
                least_support=0.56),
            dict(
                type='HeightAboveOpening',
                cell_m=2.0,
                radii_m=(3.0, 6.0, 12.0, 24.0),
                pit_m=3.0,
                least_support=0.56)
        ],
        test_mode=True,
        test_cfg=dict(
            voxelize=dict(
                type='GridSample',
                grid_size=0.5,
                hash_type='fnv',
                mode='test',
                return_grid_coord=True),
            crop=None,
            post_transform=[
                dict(type='VoxelOffset', grid_size=0.5),
                dict(type='Occupancy'),
                dict(type='Roughness', neighbours=(10, 32)),
                dict(type='ToTensor'),
                dict(
                    type='Collect',
                    keys=('coord', 'grid_coord', 'index'),
                    feat_keys=('occupancy', 'offset', 'height', 'returns', 'relief', 'support', 'roughness'))
            ],
            aug_transform=[
                [dict(type='RandomRotateTargetAngle', angle=[0], axis='z', center=[0, 0, 0], p=1)],
                [dict(type='RandomRotateTargetAngle', angle=[1 / 2], axis='z', center=[0, 0, 0], p=1)],
                [dict(type='RandomRotateTargetAngle', angle=[1], axis='z', center=[0, 0, 0], p=1)],
                [dict(type='RandomRotateTargetAngle', angle=[3 / 2], axis='z', center=[0, 0, 0], p=1)]
            ])))
